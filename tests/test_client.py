"""What programs import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from netvps import client


def test_every_name_is_there() -> None:
    for name in client.__all__:
        assert getattr(client, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        client.nonsense  # noqa: B018 — it is the reading that fails


def test_a_program_that_blocks_does_not_load_what_awaits() -> None:
    lazy = [f"netvps.rpc.client.{name}" for name in ("async_client", "async_transport")]
    program = f"import netvps.client, sys; netvps.client.Client; print([n for n in {lazy!r} if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert answer.stdout.strip() == "[]"
