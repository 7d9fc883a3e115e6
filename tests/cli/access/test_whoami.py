"""`netvps whoami`."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run


@pytest.mark.usefixtures("fake")
def test_it_tells_the_account_and_the_server(run: Run) -> None:
    lines = [line.split() for line in run("whoami").out.splitlines()]
    assert lines[:3] == [["name", "alice"], ["role", "admin"], ["context", "local"]]
    assert lines[3][1].startswith("unix:")
    assert run("whoami", "-o", "name").out == "alice\n"
    shown = json.loads(run("whoami", "-o", "json").out)
    assert (shown["name"], shown["context"]) == ("users/alice", "local")
