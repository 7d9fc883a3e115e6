"""`netvps tui`: what it starts. The UI itself is tested in tests/tui."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import netvps_tui.run

from netvps import exit_codes

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import Run


def test_it_starts_for_the_context_and_ssh_is_that_of_the_same_context(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(netvps_tui.run, "run", lambda endpoint, **how: started.append((endpoint.address, how)))
    monkeypatch.setenv("NETVPS_SOCKET", "/nonexistent/api.sock")
    assert run("tui", "--read-only").code == 0
    ((address, how),) = started
    assert address == "unix:/nonexistent/api.sock"
    assert how["read_only"]
    assert how["title"]


def test_without_a_terminal_it_says_so(run: Run) -> None:
    ran = run("tui")
    assert ran.code == exit_codes.CONFIGURATION
    assert "needs a terminal" in ran.err
