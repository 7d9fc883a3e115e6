"""`netvps move`, `runner drain` and `runner uncordon`; so of netvps.cli.machine.drain, too."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from netvps import exit_codes
from netvps.cli.machine import drain
from netvps.cli.server import connect
from netvps.cli.snapshot import move
from netvps.domain.moves.move import MoveStage, MoveView
from netvps.domain.session.session import DesiredState, SessionState
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient, session

MOVE = MoveView("dev1.alice", "m", MoveStage.WAITING, "box1", "box2", "", NOW)


@dataclass
class Server(FakeClient):
    """`stages` are what a move is in, one at each look."""

    stages: list[MoveView] = field(default_factory=list)

    def move_session(self, name: str, target: str = "", *, from_copy: bool = False) -> MoveView:
        self._ask("move_session", name, target, from_copy)
        return MOVE

    def list_moves(self, name: str = "", *, runner: str = "") -> list[MoveView]:
        self._ask("list_moves", name, runner)
        return [self.stages.pop(0)] if self.stages else []

    def drain_runner(self, name: str) -> list[MoveView]:
        self._ask("drain_runner", name)
        return [MOVE] if self.stages else []

    def uncordon_runner(self, name: str) -> None:
        self._ask("uncordon_runner", name)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(connect, "dial", lambda _context: made)
    for module in (move, drain):
        monkeypatch.setattr(module, "_POLL_SECONDS", 0.0)
    return made


def _in(stage: MoveStage, message: str = "", target: str = "box2") -> MoveView:
    return replace(MOVE, stage=stage, message=message, target=target)


def test_a_move_is_waited_for(run: Run, server: Server) -> None:
    server.sessions = {"dev1": session()}
    server.stages = [_in(MoveStage.STOPPING), _in(MoveStage.COPYING, "1 of 2"), _in(MoveStage.DONE)]
    ran = run("move", "dev1", "--to", "box2")
    assert (ran.code, ran.out) == (0, "dev1\n")
    assert server.asked[0] == ("move_session", "dev1", "box2", False)
    assert "session dev1 is on runner box2" in ran.err


def test_a_stopped_session_has_moved_when_it_rests(run: Run, server: Server) -> None:
    server.stages = [_in(MoveStage.ARRIVING)]
    server.sessions = {"dev1": session(state=SessionState.STOPPED, desired=DesiredState.STOPPED)}
    assert run("move", "dev1", "--from-copy").code == 0
    assert server.asked[0] == ("move_session", "dev1", "", True)


def test_a_failure_says_where_it_stays(run: Run, server: Server) -> None:
    server.stages = [_in(MoveStage.FAILED, "no room")]
    ran = run("move", "dev1")
    assert ran.code == exit_codes.CONFLICT
    assert "session dev1 stays on runner box1: no room" in ran.err


def test_without_a_wait_nothing_is_asked_again(run: Run, server: Server) -> None:
    ran = run("move", "dev1", "--no-wait")
    assert (ran.code, len(server.asked)) == (0, 1)
    assert "is being moved" in ran.err


def test_a_wait_ends_in_time(run: Run, server: Server) -> None:
    server.sessions = {"dev1": session()}
    server.stages = [_in(MoveStage.COPYING)] * 100_000
    ran = run("move", "dev1", "--timeout", "1s")
    assert ran.code == exit_codes.TIMEOUT
    assert "session dev1 has not moved yet (COPYING" in ran.err


def test_a_drain_waits_until_all_have_left(run: Run, server: Server) -> None:
    server.stages = [_in(MoveStage.WAITING), _in(MoveStage.COPYING)]
    ran = run("runner", "drain", "box1")
    assert (ran.code, ran.out) == (0, "box1\n")
    assert "runner box1 is empty: 1 sessions have left" in ran.err


def test_a_drain_goes_on_where_no_runner_had_room_for_a_moment(run: Run, server: Server) -> None:
    server.stages = [_in(MoveStage.WAITING, "runner box2 is offline", target=""), _in(MoveStage.COPYING)]
    assert run("runner", "drain", "box1").code == 0


def test_a_drain_names_what_stays_and_why(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "STUCK_SECONDS", 0.0)
    server.stages = [_in(MoveStage.WAITING, "no other runner can take it", target="")]
    ran = run("runner", "drain", "box1")
    assert ran.code == exit_codes.CONFLICT
    assert "session dev1.alice stays: no other runner can take it" in ran.err


def test_an_empty_runner_is_drained_at_once_and_given_back(run: Run, server: Server) -> None:
    assert "runner box1 has no sessions" in run("runner", "drain", "box1").err
    assert run("runner", "uncordon", "box1").out == "box1\n"
    assert server.asked[-1] == ("uncordon_runner", "box1")
