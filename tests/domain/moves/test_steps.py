from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.moves.eviction import Eviction, EvictionState, eviction_assignment
from netvps.domain.moves.move import Move, MoveStage
from netvps.domain.moves.steps import (
    CopyAll,
    Fail,
    Stop,
    Switch,
    Take,
    Wait,
    arrived,
    failing,
    from_here,
    from_stop,
    next_step,
    stopping,
    switched,
)
from netvps.domain.names import SessionName
from netvps.domain.runner.runner import Runner
from netvps.domain.session.lifecycle import assignment, new_session, place, set_desired
from netvps.domain.session.session import DesiredState, Session, SessionState, SnapshotImage
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.snapshot import Holder, Restore, Snapshot, SnapshotCause, SnapshotOrder, SnapshotState

NOW = datetime(2026, 11, 30, tzinfo=UTC)
HERE, THERE = Runner("here", "box1", NOW, NOW), Runner("there", "box2", NOW, NOW)
MOVE = Move("m" * 13, "alice", "here", "box1", NOW).to(THERE)


def _session(state: SessionState = SessionState.RUNNING, desired: DesiredState | None = None) -> Session:
    placed = place(new_session("s" * 13, SessionName("alice", "dev1"), SessionSpec("debian:12"), NOW), HERE, NOW)
    wanted = desired or (DesiredState.STOPPED if state is SessionState.STOPPED else DesiredState.RUNNING)
    return replace(placed, state=state, desired=wanted, observed_generation=placed.generation, move=MOVE)


def _snapshot(uid: str, state: SnapshotState, *holders: str, damaged: bool = False) -> Snapshot:
    taken = Snapshot(uid, "s" * 13, "dev1", "alice", uid, SnapshotCause.REQUEST, NOW, NOW, state)
    return replace(taken, holders=tuple(Holder(one, one, damaged) for one in holders))


def test_a_running_session_is_stopped_first() -> None:
    session = _session()
    assert next_step(session, MOVE, []) == Stop()
    stopped = stopping(session, MOVE, NOW)
    assert (stopped.desired, stopped.generation) == ("STOPPED", session.generation + 1)
    assert stopped.move is not None
    assert (stopped.move.stage, stopped.move.resume, stopped.move.stopped) == ("STOPPING", True, True)
    assert isinstance(next_step(stopped, stopped.move, []), Wait)


@pytest.mark.parametrize(
    ("session", "words"),
    [
        (_session(SessionState.PENDING), "it is PENDING, and is moved once it runs"),
        (replace(_session(), restore=Restore("r", "s", "p", NOW)), "a snapshot is being restored in it"),
        (_session(SessionState.UNREACHABLE, DesiredState.STOPPED), "it is being stopped"),
    ],
)
def test_it_waits(session: Session, words: str) -> None:
    step = next_step(session, MOVE, [])
    assert isinstance(step, Wait)
    assert step.message.startswith(words)


@pytest.mark.parametrize(
    ("session", "words"),
    [
        (_session(desired=DesiredState.DELETED), "it is being deleted"),
        (replace(_session(SessionState.FAILED), message="no image"), r"it failed (no image)"),
    ],
)
def test_it_fails(session: Session, words: str) -> None:
    step = next_step(session, MOVE, [])
    assert isinstance(step, Fail)
    assert step.message.startswith(words)


def test_a_stopped_one_is_taken_then_copied_then_placed() -> None:
    session, move = _session(SessionState.STOPPED), replace(MOVE, stage=MoveStage.COPYING)
    assert next_step(session, move, []) == Take()
    for reason in ("snapshot_pending", "snapshot_failed"):  # its image is not needed
        assert next_step(replace(session, reason=reason), move, []) == Take()
    move = replace(move, snapshot="base", generation=session.generation)
    assert isinstance(next_step(session, move, []), Fail)
    assert isinstance(next_step(session, move, [_snapshot("base", SnapshotState.CREATING)]), Wait)
    base, kept = _snapshot("base", SnapshotState.READY, "here"), _snapshot("kept", SnapshotState.READY, "here", "there")
    assert next_step(session, move, [base, kept]) == CopyAll((base,))
    base = _snapshot("base", SnapshotState.READY, "here", "there")
    assert next_step(session, move, [base, kept]) == Switch(base)


def test_the_snapshot_of_the_stop_is_copied_if_it_is_the_whole_present_state() -> None:
    rests = _session(SessionState.STOPPED)
    image = SnapshotImage("stop", rests.uid, "i", "d", 1, 1, "box1", rests.generation, NOW)
    rests, taken = replace(rests, snapshot=image), _snapshot("stop", SnapshotState.READY, "here")
    move = from_stop(rests, MOVE, [taken])
    assert next_step(rests, move, [taken]) == CopyAll((taken,))
    held = _snapshot("stop", SnapshotState.READY, "here", "there")
    assert next_step(rests, move, [held]) == Switch(held)
    assert from_stop(rests, MOVE, [held]) is MOVE  # it may be damaged by now
    for session, snapshot in (
        (replace(rests, snapshot=None), taken),
        (replace(rests, reason="snapshot_pending"), taken),  # it ran again, by hand
        (replace(rests, state=SessionState.STOPPING), taken),
        (replace(rests, observed_generation=rests.generation - 1), taken),
        (replace(rests, generation=rests.generation + 1, observed_generation=rests.generation + 1), taken),
        (rests, _snapshot("other", SnapshotState.READY, "here")),
        (rests, _snapshot("stop", SnapshotState.DELETING, "here")),
        (rests, replace(taken, warnings=("it leaves out what is below /cache, as the session asks",))),
    ):
        assert from_stop(session, MOVE, [snapshot]) is MOVE


_HOLDERS = st.sets(st.sampled_from(["here", "there", "elsewhere"]))
_SNAPSHOTS = st.lists(st.tuples(st.sampled_from(SnapshotState), _HOLDERS, st.booleans()), max_size=4)


@given(
    snapshots=_SNAPSHOTS,
    state=st.sampled_from(SessionState),
    desired=st.sampled_from(DesiredState),
    reason=st.sampled_from(["", "snapshot_pending", "snapshot_failed"]),
    settled=st.booleans(),
)
def test_it_is_placed_only_when_all_is_there_and_it_runs_nowhere(
    snapshots: list[tuple[SnapshotState, set[str], bool]],
    state: SessionState,
    desired: DesiredState,
    reason: str,
    settled: bool,
) -> None:
    session = replace(_session(state, desired), reason=reason)
    session = session if settled else replace(session, observed_generation=0)
    all_of_them = [
        _snapshot(f"n{number}", kind, *sorted(holders), damaged=damaged)
        for number, (kind, holders, damaged) in enumerate(snapshots)
    ]
    step = next_step(session, replace(MOVE, snapshot="n0", generation=session.generation), all_of_them)
    if isinstance(step, Switch):
        assert (session.state, session.desired, settled) == ("STOPPED", "STOPPED", True)
        assert step.base.state is SnapshotState.READY
        ready = [one for one in all_of_them if one.state is SnapshotState.READY]
        assert all("there" in {holder.runner for holder in one.usable} for one in ready)


def test_it_is_made_from_its_snapshot_until_it_has_another() -> None:
    session = replace(
        _session(SessionState.STOPPED), snapshot_orders=(SnapshotOrder("a"), SnapshotOrder("b", delete=True))
    )
    move = replace(MOVE, stage=MoveStage.COPYING, snapshot="base", resume=True)
    there = switched(session, move, THERE, "10.0.0.9", NOW)
    assert (there.runner, there.epoch, there.desired) == ("there", session.epoch + 1, "RUNNING")
    assert (there.generation, there.overlay_address) == (session.generation + 1, "10.0.0.9")
    assert there.snapshot_orders == (SnapshotOrder("b", delete=True),)
    assert there.awaits == "base"
    wanted = assignment(there)
    assert wanted.source is not None
    assert (wanted.source.uid, wanted.source.session) == ("base", session.uid)
    done = arrived(there, NOW)
    assert (done.move and done.move.stage, done.awaits) == ("DONE", "")
    assert assignment(done).source == wanted.source  # its container may still be lost before its first stop
    assert arrived(done, NOW) is done


def test_one_that_moves_on_unrun_is_still_made_from_its_snapshot() -> None:
    """Also if the next move fails; the plain image would be an empty session."""
    arrival = switched(_session(SessionState.STOPPED), replace(MOVE, snapshot="base"), THERE, "", NOW)
    onward = replace(arrival, move=from_here(arrival, replace(MOVE, origin="there")))
    assert onward.move is not None
    assert onward.move.snapshot == "base"
    for session in (onward, failing(onward, onward.move, "no room", NOW)):
        assert session.awaits == "base"
        wanted = assignment(session)
        assert wanted.source is not None
        assert wanted.source.uid == "base"
        again = from_here(session, MOVE)
        assert (again.base, again.awaited, again.snapshot) == ("base", True, "base")


@pytest.mark.parametrize("stage", [MoveStage.WAITING, MoveStage.FAILED])
def test_one_that_ran_meanwhile_moves_with_what_it_wrote(stage: MoveStage) -> None:
    arrival = switched(_session(SessionState.STOPPED), replace(MOVE, snapshot="base"), THERE, "", NOW)
    onward = replace(arrival, move=replace(from_here(arrival, MOVE), stage=stage))
    ran = arrived(onward, NOW)
    assert ran.move is not None
    assert (ran.awaits, ran.move.snapshot) == ("", "" if stage is MoveStage.WAITING else "base")
    assert ran.made_from is not None
    assert ran.made_from.uid == "base"  # its container may still be lost before its first stop
    later = from_here(ran, MOVE)
    assert (later.base, later.awaited, later.snapshot) == ("base", False, "")
    assert arrived(ran, NOW) is ran


def test_what_ran_and_stopped_unseen_is_taken_again() -> None:
    arrival = switched(_session(SessionState.STOPPED), replace(MOVE, snapshot="base"), THERE, "", NOW)
    image = SnapshotImage("i", arrival.uid, "image:1", "d", 1, 1, "box2", 2, NOW)
    rests = replace(arrival, state=SessionState.STOPPED, observed_generation=arrival.generation)
    move = from_here(rests, MOVE)
    base = _snapshot("base", SnapshotState.READY, "here", "there")
    assert next_step(rests, move, [base]) == Switch(base)
    assert from_here(replace(rests, snapshot=image), MOVE) == MOVE
    ran = set_desired(set_desired(rests, DesiredState.RUNNING, NOW), DesiredState.STOPPED, NOW)
    ran = replace(ran, observed_generation=ran.generation)
    assert next_step(ran, move, [base]) == Take()


def test_one_that_ran_after_its_snapshot_was_taken_moves_with_what_it_wrote() -> None:
    """Its owner started it while it was being copied, and it was stopped again, for its move or by its owner."""
    session = _session(SessionState.STOPPED)
    move = replace(MOVE, stage=MoveStage.COPYING, snapshot="base", generation=session.generation)
    base = _snapshot("base", SnapshotState.READY, "here", "there")
    assert next_step(session, move, [base]) == Switch(base)
    runs = replace(set_desired(session, DesiredState.RUNNING, NOW), state=SessionState.RUNNING)
    assert next_step(runs, move, [base]) == Stop()
    stopped = stopping(runs, move, NOW)
    stopped = replace(stopped, state=SessionState.STOPPED, observed_generation=stopped.generation)
    assert stopped.move is not None
    assert next_step(stopped, stopped.move, [base]) == Take()


def test_a_failed_one_runs_again_if_it_was_stopped_for_that() -> None:
    stopped = stopping(_session(), MOVE, NOW)
    assert stopped.move is not None
    again = failing(stopped, stopped.move, "no room", NOW)
    assert (again.desired, again.generation) == ("RUNNING", stopped.generation + 1)
    assert again.move is not None
    assert (again.move.stage, again.move.message) == ("FAILED", "no room")
    stays = failing(_session(SessionState.STOPPED), MOVE, "no room", NOW)
    assert stays.desired is DesiredState.STOPPED


def test_an_evicted_runner_stops_it_and_erases_it_only_when_released() -> None:
    eviction = Eviction("s" * 13, "here", "box1", "dev1", "alice", 3, SessionSpec("debian:12"), NOW)
    fenced = eviction_assignment(eviction)
    assert (fenced.desired, fenced.epoch, fenced.generation, fenced.source) == ("STOPPED", 3, 1, None)
    released = eviction_assignment(replace(eviction, state=EvictionState.RELEASED))
    assert (released.desired, released.epoch, released.generation) == ("DELETED", 3, 2)
