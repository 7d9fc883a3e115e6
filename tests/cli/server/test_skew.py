"""A hint where server and client are of different versions."""

from __future__ import annotations

import pytest

from netvps.cli.server.skew import skew_hint


@pytest.mark.parametrize(
    ("server", "client", "older"),
    [("0.2.0", "0.1.9", "update this program"), ("0.1.0", "0.2.0", "update the server"), ("0.1.1", "0.1.0", ""),
     ("", "0.1.0", ""), ("unknown", "0.1.0", "")],
)  # fmt: skip
def test_the_older_one_is_named(server: str, client: str, older: str) -> None:
    hint = skew_hint(server, client)
    assert older in hint
    assert bool(hint) == bool(older)
