"""`netvps deploy`: the group of its commands."""

from __future__ import annotations

from tests.cli.conftest import Run


def test_each_command_is_in_its_help(run: Run) -> None:
    out = run("deploy", "--help").out
    assert all(f"\n  {name} " in out for name in ("apply", "logs", "ls", "plan", "restart", "rm", "schema", "status"))
