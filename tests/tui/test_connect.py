"""The ways into a session; the one that leaves the screen never raises. In a real terminal: tests/e2e."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from netvps_tui import connect
from netvps_tui.connect import HandOver, HandOverTerminal, Place, SuspendAndSsh, run_outside

if TYPE_CHECKING:
    from collections.abc import Iterator


class App:
    """What a way in needs of the app."""

    def __init__(self) -> None:
        self.did: list[Any] = []

    @contextmanager
    def suspend(self) -> Iterator[None]:
        self.did.append("suspend")
        yield
        self.did.append("resume")

    def notify(self, message: str, **_: object) -> None:
        self.did.append(message)

    def exit(self, result: HandOver) -> None:
        self.did.append(result)


def test_a_command_runs_in_place_of_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    app = App()
    SuspendAndSsh(["echo"]).ssh(app, "dev1.alice", Place())  # type: ignore[arg-type]  # as much of an app as it takes
    SuspendAndSsh(["echo"]).forward(app, "dev1.alice", ["8080"])  # type: ignore[arg-type]
    assert app.did == ["suspend", "resume"] * 2
    assert capfd.readouterr().out == "ssh dev1.alice\nforward dev1.alice 8080\n"


def test_a_command_that_fails_at_once_is_read_before_the_screen_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(connect, "_wait_for_enter", lambda: waited.append(True))
    assert run_outside(App(), [sys.executable, "-c", "raise SystemExit(7)"]) is None  # type: ignore[arg-type]
    assert waited == [True]


def test_a_command_that_is_missing_is_shown_on_the_screen() -> None:
    app = App()
    SuspendAndSsh(["/nonexistent/netvps"]).ssh(app, "dev1", Place())  # type: ignore[arg-type]
    assert app.did[:2] == ["suspend", "resume"]
    assert app.did[2].startswith("cannot run /nonexistent/netvps: No such file")


def test_over_ssh_and_in_a_browser_the_terminal_is_handed_over() -> None:
    app, place = App(), Place("sessions", "uid")
    HandOverTerminal().ssh(app, "dev1.alice", place)  # type: ignore[arg-type]
    HandOverTerminal().forward(app, "dev1.alice", ["80"])  # type: ignore[arg-type]
    assert app.did == [HandOver("dev1.alice", place), "run on your machine: netvps forward dev1.alice 80"]
