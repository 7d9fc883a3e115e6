"""`netvps network`: netvps/cli/network.py; that it becomes its program is in test_programs."""

from __future__ import annotations

from netvps.cli.network import network


def test_there_is_one_command_that_removes_it() -> None:
    assert list(network.commands) == ["purge"]
    assert "Remove all of the overlay" in (network.commands["purge"].help or "")
