"""The checker finds bugs that were planted, and none where there is none."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import AlreadyExists, Unavailable
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import ALICE, World
from tests.history.check import violations
from tests.history.record import End, Found, History, Kind

DEV, UID = "dev1.alice", "0123456789abc"
RUNS = Found(UID, DEV, "RUNNING", "RUNNING", "10.0.0.2")
STOPPED = Found(UID, DEV, "STOPPED", "STOPPED")
IMAGE = (UID, "netvps/snapshot:1")
numbers = itertools.count()


def note(history: History, *kinds: Kind, uid: str = UID, request: str = "") -> History:
    for kind in kinds:
        with history.operation(kind, DEV, request or str(next(numbers))) as operation:
            operation.uid = uid
    return history


def note_lost(history: History, kind: Kind, request: str = "") -> History:
    with pytest.raises(Unavailable), history.operation(kind, DEV, request or str(next(numbers))):
        raise Unavailable("the answer is lost")
    return history


def note_refused(history: History, kind: Kind) -> History:
    with pytest.raises(AlreadyExists), history.operation(kind, DEV, str(next(numbers))):
        raise AlreadyExists("no")
    return history


def found(history: History, end: End) -> str:
    return "\n".join(violations(history, end))


def test_what_went_well_is_found_well() -> None:
    history = note(History(), "create", "stop", "start", "stop")
    assert violations(history, End((STOPPED,), snapshots=(IMAGE,))) == []
    assert violations(note(history, "delete"), End()) == []
    again = note(history, "create", uid="other")
    assert violations(again, End((replace(RUNS, uid="other"),), ("other",))) == []


@pytest.mark.parametrize("end", [End((RUNS,), (UID,)), End((STOPPED,), snapshots=(IMAGE,))])
def test_a_call_without_an_answer_may_have_happened_or_not(end: End) -> None:
    assert violations(note_lost(note(History(), "create"), "stop"), end) == []


def test_a_refused_operation_has_no_effect() -> None:
    history = note_refused(note(History(), "create"), "create")
    assert violations(history, End((RUNS,), (UID,))) == []
    assert "P1" in found(note_refused(History(), "create"), End((RUNS,), (UID,)))


def test_a_request_that_was_sent_again_is_one() -> None:
    history = note(note_lost(History(), "create", "r"), "create", request="r")
    assert violations(history, End((RUNS,), (UID,))) == []


def test_a_late_effect_of_a_lost_call_is_allowed_but_not_of_a_request_that_was_answered() -> None:
    lost = note(note_lost(note(History(), "create"), "stop"), "start")
    assert violations(lost, End((STOPPED,))) == []
    answered = note(note(note(History(), "create"), "stop"), "start")
    assert "P1" in found(answered, End((STOPPED,)))


def test_planted_a_stop_is_lost() -> None:
    assert "P1: no order" in found(note(History(), "create", "stop"), End((RUNS,), (UID,)))


def test_planted_a_session_is_lost() -> None:
    assert "P1: no order" in found(note(History(), "create"), End())
    assert "lost a file" in found(note(History(), "create"), End((RUNS,), (UID,), lost_files=(DEV,)))


def test_planted_a_deleted_session_is_back() -> None:
    assert "P1: no order" in found(note(History(), "create", "delete"), End((RUNS,), (UID,)))


def test_planted_a_create_is_doubled() -> None:
    history = note(note(History(), "create", request="r"), "create", request="r", uid="other")
    text = found(history, End((RUNS, replace(RUNS, uid="other")), (UID, "other")))
    assert "P2: request r made" in text
    assert f"P4: name {DEV} is given 2 times" in text
    assert "P4: address 10.0.0.2 is given 2 times" in text


def test_planted_orphans() -> None:
    created, gone = note(History(), "create"), note(History(), "create", "delete")
    assert "P8: a container of session" in found(gone, End(containers=(UID,)))
    assert "P8: image netvps/snapshot:1" in found(gone, End(snapshots=(IMAGE,)))
    assert "P8: folder /run/x of session" in found(gone, End(others=((UID, "folder /run/x"),)))
    assert "P8: session dev1.alice has an image without" in found(created, End((RUNS,), (UID,), ((UID, ""),)))
    assert "P3: session dev1.alice has 2 containers" in found(created, End((RUNS,), (UID, UID)))
    assert "P1: session dev1.alice is said to run" in found(created, End((RUNS,)))
    stopped = note(created, "stop")
    assert violations(stopped, End((STOPPED,), (UID,))) == []
    assert "is stopped, and its container runs" in found(stopped, End((STOPPED,), (UID,), running=(UID,)))


def test_planted_a_session_does_not_converge() -> None:
    stuck = replace(STOPPED, state="SNAPSHOTTING")
    assert "P7" in found(note(History(), "create", "stop"), End((stuck,), (UID,)))
    pending = replace(STOPPED, reason="snapshot_pending")
    assert "P7" in found(note(History(), "create", "stop"), End((pending,), (UID,)))


def test_planted_a_subnet_is_given_twice() -> None:
    assert "P4: subnet 10.128.0.0/22" in found(History(), End(subnets=("10.128.0.0/22", "10.128.0.0/22")))


async def _world() -> World:
    clock = FakeClock()
    world = World(MemoryStore(clock), clock)
    await world.populate()
    await world.runner()
    return world


async def _story(world: World, history: History, session_id: str = "dev1") -> End:
    """Alice creates, hears nothing, asks again, and stops it; then this is what there is."""

    async def create() -> Session:
        with history.operation("create", DEV, "create") as operation:
            made = await world.sessions.create(
                ALICE, session_id=session_id, owner="", spec=SessionSpec(), request_id="create"
            )
            operation.uid = made.uid
        return made

    await create()
    made = await create()
    with history.operation("stop", DEV, "stop") as operation:
        operation.uid = (await world.sessions.stop(ALICE, made.name, request_id="stop")).uid
    for session in await world.rows(Session):
        goal = SessionState.STOPPED if session.desired == "STOPPED" else SessionState.RUNNING
        await world.reported(session, goal)
    sessions = await world.rows(Session)
    return End(
        tuple(Found(s.uid, str(s.full_name), str(s.desired), str(s.state)) for s in sessions),
        tuple(s.uid for s in sessions if s.state == "RUNNING"),
    )


async def test_the_services_keep_their_promises() -> None:
    history = History()
    assert violations(history, await _story(await _world(), history)) == []


async def test_services_that_lose_a_stop_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.domain.session.lifecycle.set_desired", lambda session, **_: session)
    history = History()
    assert "P1: no order" in "\n".join(violations(history, await _story(await _world(), history)))


async def test_services_that_forget_requests_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(*_: object) -> None: ...

    monkeypatch.setattr("netvps.services.idempotency.Idempotency.earlier", forgets)
    monkeypatch.setattr("netvps.services.idempotency.Idempotency.record", forgets)
    history = History()
    # With a name of its own choice: else the store, in which names are unique, refuses the second.
    end = await _story(await _world(), history, session_id="")
    assert "P2: request create made" in "\n".join(violations(history, end))


def test_a_pause_may_end_by_a_login_or_with_its_container() -> None:
    history = note(History(), "create", "pause")
    for state in ("PAUSED", "RUNNING", "STOPPED"):
        ended = End((replace(RUNS, desired=state, state=state),), (UID,), running=() if state == "STOPPED" else (UID,))
        assert found(history, ended) == ""
    assert "P1: no order" in found(note(History(), "create", "stop", "pause"), End((RUNS,), (UID,)))
    assert "P1: no order" in found(note(History(), "create", "stop", "resume"), End((RUNS,), (UID,)))
    assert found(note(History(), "create", "pause", "resume"), End((RUNS,), (UID,))) == ""
    stuck = replace(RUNS, desired="PAUSED")
    assert "P7" in found(history, End((stuck,), (UID,)))
