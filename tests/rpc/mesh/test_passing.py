"""Who may speak for a runner, in which calls, and for how long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.access.identity import RunnerIdentity, ServerIdentity, SessionIdentity
from netvps.domain.peer_server import PeerServer
from netvps.errors import Unauthenticated, Unavailable, WrongState
from netvps.rpc.mesh import passing as module
from netvps.rpc.mesh.addressee import addressed_to, of_runner
from netvps.rpc.mesh.mesh import Mesh
from netvps.rpc.mesh.passing import Passing

if TYPE_CHECKING:
    from netvps.domain.access.identity import Certified

UID, OTHER = "0123456789abc", "0123456789abd"
SEND_LOGS, CONNECT = "/netvps.api.v1.RunnerLinkService/SendLogs", "/netvps.api.v1.RunnerLinkService/Connect"
RUNNER, SERVER = RunnerIdentity(UID), ServerIdentity(UID)


class _Mesh:
    own = PeerServer(UID, "")

    def peer(self, uid: str) -> str:
        if uid != OTHER:
            raise Unavailable(f"this server does not know server {uid}")
        return f"server {uid}"


@pytest.fixture
def passing() -> Passing:
    return Passing(cast("Mesh", _Mesh()))


def call(*metadata: tuple[str, str]) -> Any:
    return SimpleNamespace(invocation_metadata=lambda: metadata)


def first(stream_id: str) -> Any:
    return SimpleNamespace(stream_id=stream_id)


def test_a_server_speaks_for_a_runner_in_its_answers_only(passing: Passing) -> None:
    onward = call(*addressed_to(UID), of_runner(OTHER))
    assert passing.identity(SERVER, SEND_LOGS, onward) == RunnerIdentity(OTHER)
    assert passing.identity(SERVER, CONNECT, onward) == SERVER


@pytest.mark.parametrize("who", [RUNNER, SessionIdentity(UID, 1), Caller("root", Role.ADMIN)])
def test_no_one_else_speaks_for_a_runner(passing: Passing, who: Caller | Certified) -> None:
    assert passing.identity(who, SEND_LOGS, call(*addressed_to(UID), of_runner(OTHER))) == who


@pytest.mark.parametrize("runners", [(), ("x",), (UID, OTHER)])
def test_a_call_that_is_passed_on_names_one_runner(passing: Passing, runners: tuple[str, ...]) -> None:
    with pytest.raises(Unauthenticated):
        passing.identity(SERVER, SEND_LOGS, call(*addressed_to(UID), *map(of_runner, runners)))


def test_a_call_for_another_server_is_refused(passing: Passing) -> None:
    with pytest.raises(WrongState):
        passing.identity(SERVER, SEND_LOGS, call(*addressed_to(OTHER), of_runner(OTHER)))


def test_an_answer_goes_to_the_server_that_asked_once(passing: Passing) -> None:
    passing.expect(UID, "s1", OTHER)
    assert passing.destination(RunnerIdentity(OTHER), SEND_LOGS, first("s1")) is None
    assert passing.destination(RUNNER, SEND_LOGS, first("s2")) is None
    assert passing.destination(RUNNER, CONNECT, first("s1")) is None
    found = passing.destination(RUNNER, SEND_LOGS, first("s1"))
    assert found is not None
    assert str(found.peer) == f"server {OTHER}"
    assert found.who == RUNNER
    assert passing.destination(RUNNER, SEND_LOGS, first("s1")) is None


def test_a_server_that_is_not_known_gets_no_answer(passing: Passing) -> None:
    with pytest.raises(Unavailable):
        passing.expect(UID, "s1", UID)
    assert passing.destination(RUNNER, SEND_LOGS, first("s1")) is None


def test_answers_that_never_come_are_forgotten(passing: Passing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_EXPECTED", 2)
    for number in range(5):
        passing.expect(UID, f"s{number}", OTHER)
    assert len(passing._expected) == 2
    monkeypatch.setattr(module, "_ANSWERED_WITHIN", -1.0)
    passing.expect(UID, "late", OTHER)
    assert passing.destination(RUNNER, SEND_LOGS, first("late")) is None
    passing.expect(UID, "later", OTHER)
    assert "late" not in passing._expected
