from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain.names import SessionName
from netvps.domain.runner.docker_names import snapshot_image
from netvps.domain.runner.runner import Runner
from netvps.domain.session.lifecycle import (
    ADDRESSES_EXHAUSTED,
    DISK_LIMIT,
    ENDED,
    PAUSE_FAILED,
    RESIZE_REFUSED,
    RUNNER_LOST,
    SNAPSHOT_FAILED,
    assignment,
    defer,
    delete,
    lose,
    new_session,
    observe,
    pause,
    place,
    rename,
    resume,
    set_desired,
    settled,
    update,
    wait,
)
from netvps.domain.session.session import (
    Author,
    ChangeCause,
    DesiredState,
    LastExit,
    Session,
    SessionReport,
    SessionState,
    SnapshotImage,
)
from netvps.domain.session.spec import SessionSpec
from netvps.errors import WrongState
from tests.domain.session.lifecycle_machine import REASONS, Lifecycle

T0 = datetime(2026, 5, 4, tzinfo=UTC)
LATER = T0 + timedelta(minutes=1)
RUNNER = Runner("runner1", "lab1", T0, T0)
NEW = new_session("uid", SessionName("alice", "dev1"), SessionSpec(image="debian"), T0)
PLACED = place(NEW, RUNNER, T0)
ALICE = Author("alice", ChangeCause.PERSON)


def _report(
    session: Session, state: SessionState, reason: str = "", snapshot: SnapshotImage | None = None
) -> SessionReport:
    return SessionReport(session.uid, session.epoch, session.generation, state, reason, snapshot=snapshot)


def _seen(session: Session, state: SessionState, reason: str = "", snapshot: SnapshotImage | None = None) -> Session:
    return observe(session, _report(session, state, reason, snapshot), LATER)


def _snapshot(generation: int, time: datetime = T0, session: str = "uid") -> SnapshotImage:
    return SnapshotImage(f"s{generation}", session, "image", "sha256:1", 1, 1, "lab1", generation, time)


def test_a_new_session_is_to_run_and_waits() -> None:
    assert (NEW.desired, NEW.generation, NEW.state, NEW.epoch) == (DesiredState.RUNNING, 1, SessionState.PENDING, 0)
    assert not settled(NEW)


@pytest.mark.parametrize("desired", DesiredState)
def test_asking_again_changes_nothing(desired: DesiredState) -> None:
    never_placed = [] if desired is DesiredState.PAUSED else [NEW]
    for session in (*never_placed, PLACED, _seen(PLACED, SessionState.RUNNING)):
        wanted = set_desired(session, desired, LATER)
        assert set_desired(wanted, desired, LATER) is wanted


def test_what_no_session_has_comes_about_at_once() -> None:
    stopped = set_desired(NEW, DesiredState.STOPPED, LATER)
    assert (stopped.state, settled(stopped)) == (SessionState.STOPPED, True)
    assert set_desired(stopped, DesiredState.RUNNING, LATER).state is SessionState.PENDING
    assert settled(set_desired(NEW, DesiredState.DELETED, LATER))


def test_what_a_runner_has_comes_about_when_it_says_so() -> None:
    stopping = set_desired(_seen(PLACED, SessionState.RUNNING), DesiredState.STOPPED, LATER)
    assert (stopping.state, stopping.generation, settled(stopping)) == (SessionState.RUNNING, 2, False)
    assert settled(_seen(stopping, SessionState.STOPPED))


@pytest.mark.parametrize(
    ("desired", "state", "reason", "retried"),
    [
        (DesiredState.RUNNING, SessionState.FAILED, "image", True),
        (DesiredState.STOPPED, SessionState.STOPPED, SNAPSHOT_FAILED, True),
        (DesiredState.DELETED, SessionState.FAILED, "disk", True),
        (DesiredState.PAUSED, SessionState.RUNNING, PAUSE_FAILED, True),
        (DesiredState.PAUSED, SessionState.PAUSED, "", False),
        (DesiredState.RUNNING, SessionState.RUNNING, "", False),
        (DesiredState.STOPPED, SessionState.STOPPED, "", False),
    ],
)
def test_asking_again_for_what_failed_is_a_retry(
    desired: DesiredState, state: SessionState, reason: str, retried: bool
) -> None:
    session = _seen(set_desired(PLACED, desired, T0), state, reason)
    again = set_desired(session, desired, LATER)
    assert again.generation == session.generation + retried
    assert settled(again) is not retried


def test_what_is_being_deleted_can_be_nothing_else() -> None:
    deleting = set_desired(PLACED, DesiredState.DELETED, T0)
    for desired in (DesiredState.RUNNING, DesiredState.STOPPED):
        with pytest.raises(WrongState, match=r"dev1\.alice is being deleted"):
            set_desired(deleting, desired, LATER)


def test_who_waits_says_why_once_and_forgets_it_when_stopped() -> None:
    waiting = wait(NEW, ADDRESSES_EXHAUSTED, "all taken", LATER)
    assert (waiting.state, waiting.reason, waiting.message) == (SessionState.PENDING, ADDRESSES_EXHAUSTED, "all taken")
    assert wait(waiting, ADDRESSES_EXHAUSTED, "all taken", LATER) is waiting
    assert set_desired(waiting, DesiredState.STOPPED, LATER).reason == ""
    assert place(waiting, Runner("runner2", "lab2", T0, T0), LATER, "10.128.0.2").reason == ""


def test_an_assigned_address_goes_to_the_runner_and_stays_whatever_that_reports() -> None:
    placed = place(NEW, Runner("runner1", "lab1", T0, T0), T0, "10.128.0.2")
    seen = observe(placed, replace(_report(placed, SessionState.RUNNING), address="172.30.0.2"), LATER)
    assert (seen.overlay_address, seen.address) == ("10.128.0.2", "172.30.0.2")
    assert assignment(seen).address == "10.128.0.2"
    assert place(seen, Runner("runner2", "lab2", T0, T0), LATER).overlay_address == ""


def test_a_new_epoch_forgets_what_was_seen_in_the_old() -> None:
    running = observe(PLACED, replace(_report(PLACED, SessionState.RUNNING), address="172.30.0.2"), T0)
    moved = place(running, Runner("runner2", "lab2", T0, T0), LATER)
    assert (moved.epoch, moved.state, moved.address, settled(moved)) == (2, SessionState.PENDING, "", False)
    assert moved.observed_generation == 0
    assert observe(moved, _report(running, SessionState.RUNNING), LATER) is moved


@pytest.mark.parametrize(
    "change",
    [
        {"session_uid": "other"},
        {"epoch": 0},
        {"epoch": 2},
        {"generation": 0},
        {"generation": 3},
        {"state": SessionState.DELETED},
        {"state": SessionState.UNREACHABLE},
    ],
    ids=str,
)
def test_a_report_that_is_foreign_old_early_or_impossible_changes_nothing(change: dict[str, object]) -> None:
    session = _seen(PLACED, SessionState.RUNNING)
    stopping = set_desired(session, DesiredState.STOPPED, T0)
    report = SessionReport("uid", 1, 2, SessionState.STOPPED)
    assert observe(stopping, report, LATER) is not stopping
    assert observe(stopping, replace(report, **change), LATER) is stopping  # type: ignore[arg-type]


def test_deleted_is_believed_only_in_answer_to_the_delete() -> None:
    deleting = set_desired(_seen(PLACED, SessionState.RUNNING), DesiredState.DELETED, T0)
    early = SessionReport("uid", 1, 1, SessionState.DELETED)
    assert observe(deleting, early, LATER) is deleting
    assert _seen(deleting, SessionState.DELETED).state is SessionState.DELETED


def test_the_latest_snapshot_is_kept_whatever_the_clocks_say() -> None:
    stopped = _seen(PLACED, SessionState.STOPPED, snapshot=_snapshot(1, LATER))
    assert stopped.snapshot == _snapshot(1, LATER)
    assert _seen(stopped, SessionState.RUNNING).snapshot == _snapshot(1, LATER)
    again = set_desired(stopped, DesiredState.STOPPED, T0)
    back = _seen(again, SessionState.STOPPED, snapshot=_snapshot(2, T0))  # the runner's clock jumped back
    assert back.snapshot == _snapshot(2, T0)
    assert _seen(back, SessionState.STOPPED, snapshot=_snapshot(1, LATER)).snapshot == _snapshot(2, T0)
    assert _seen(back, SessionState.STOPPED, snapshot=_snapshot(3, LATER, "other")).snapshot == _snapshot(2, T0)


def test_of_two_snapshots_of_one_stop_the_later_one_is_kept_whatever_the_clocks_say() -> None:
    first, second = (
        replace(_snapshot(1, time), session_uid="0123456789abc", image=snapshot_image("0123456789abc", number))
        for number, time in ((7, LATER), (8, T0))
    )
    placed = replace(PLACED, uid="0123456789abc")
    assert (
        _seen(_seen(placed, SessionState.STOPPED, snapshot=first), SessionState.STOPPED, snapshot=second).snapshot
        == second
    )
    assert (
        _seen(_seen(placed, SessionState.STOPPED, snapshot=second), SessionState.STOPPED, snapshot=first).snapshot
        == second
    )


@pytest.mark.parametrize(
    ("state", "lost", "says"),
    [
        (SessionState.PENDING, True, "it goes on when that returns"),
        (SessionState.STARTING, True, "it goes on when that returns"),
        (SessionState.RUNNING, True, "the session itself most likely runs"),
        (SessionState.PAUSED, True, "the session itself most likely is still paused"),
        (SessionState.SNAPSHOTTING, True, "the session itself most likely runs"),
        (SessionState.STOPPED, False, ""),
        (SessionState.FAILED, False, ""),
    ],
)
def test_a_silent_runner_makes_unreachable_what_was_not_at_rest(state: SessionState, lost: bool, says: str) -> None:
    session = _seen(PLACED, state)
    after = lose(session, LATER)
    assert lose(after, LATER + timedelta(minutes=1)) is after
    if not lost:
        assert after is session
        return
    assert (after.state, after.reason) == (SessionState.UNREACHABLE, RUNNER_LOST)
    assert after.message == f"its runner lab1 is silent; {says}"
    assert not settled(after)
    assert _seen(after, state).state is state


def test_only_a_running_session_is_paused() -> None:
    running = _seen(PLACED, SessionState.RUNNING)
    pausing = pause(running, LATER, ALICE)
    assert (pausing.desired, pausing.generation, pausing.desired_by) == (DesiredState.PAUSED, 2, ALICE)
    assert not settled(pausing)
    paused = _seen(pausing, SessionState.PAUSED)
    assert settled(paused)
    assert pause(paused, LATER) is paused
    stopped = _seen(set_desired(running, DesiredState.STOPPED, T0), SessionState.STOPPED)
    failed = _seen(PLACED, SessionState.FAILED, "image")
    for session, words in (
        (NEW, "dev1.alice is PENDING, and only a running session can be paused: wait until it is RUNNING"),
        (stopped, "dev1.alice is STOPPED, and only a running session can be paused: start it with: netvps start"),
        (failed, "dev1.alice is FAILED, and only a running session can be paused: start it with: netvps start"),
        (set_desired(running, DesiredState.DELETED, T0), "is being deleted"),
    ):
        with pytest.raises(WrongState, match=words):
            pause(session, LATER)


def test_a_pause_is_resumed_stopped_or_deleted() -> None:
    paused = _seen(pause(_seen(PLACED, SessionState.RUNNING), T0), SessionState.PAUSED)
    resumed = resume(paused, LATER, ALICE)
    assert (resumed.desired, resumed.generation, resumed.desired_by) == (DesiredState.RUNNING, 3, ALICE)
    assert resume(resumed, LATER) is resumed
    stopping = set_desired(paused, DesiredState.STOPPED, LATER)
    assert stopping.generation == 3
    with pytest.raises(WrongState, match=r"is STOPPED, not PAUSED: start it with: netvps start dev1\.alice"):
        resume(_seen(stopping, SessionState.STOPPED), LATER)
    assert set_desired(paused, DesiredState.DELETED, LATER).desired is DesiredState.DELETED


def test_a_renamed_session_is_the_same_one() -> None:
    renamed = rename(PLACED, "web", LATER)
    assert renamed == replace(PLACED, name="web", update_time=LATER)
    assert rename(renamed, "web", T0) is renamed
    with pytest.raises(WrongState, match="is being deleted"):
        rename(set_desired(PLACED, DesiredState.DELETED, T0), "web", LATER)


def test_a_protected_session_is_not_deleted() -> None:
    protected = update(PLACED, replace(PLACED.spec, delete_protection=True), LATER)
    assert protected.generation == PLACED.generation
    with pytest.raises(
        WrongState, match=r"protected from deletion: lift that with: netvps set dev1\.alice --no-protect"
    ):
        delete(protected, LATER)
    lifted = update(protected, PLACED.spec, LATER)
    assert delete(lifted, LATER, ALICE).stopped_by == ALICE


def test_new_limits_are_settled_once_the_runner_has_applied_them() -> None:
    running = _seen(PLACED, SessionState.RUNNING)
    assert update(running, running.spec, LATER) is running
    larger = update(running, replace(running.spec, cpus=2.0), LATER)
    assert (larger.generation, larger.limits_before, settled(larger)) == (2, running.spec.limits, False)
    assert observe(larger, _report(running, SessionState.RUNNING), LATER).limits_before is not None
    applied = _seen(larger, SessionState.RUNNING)
    assert (applied.spec.cpus, applied.limits_before, settled(applied)) == (2.0, None, True)
    assert update(NEW, replace(NEW.spec, cpus=2.0), LATER).generation == NEW.generation


def test_a_new_disk_limit_is_settled_once_the_runner_has_answered_and_no_refusal_takes_it_back() -> None:
    running = _seen(PLACED, SessionState.RUNNING)
    larger = update(running, replace(running.spec, disk_bytes=1 << 30), LATER)
    assert (larger.generation, larger.limits_before, settled(larger)) == (2, None, False)
    answered = _seen(larger, SessionState.RUNNING, DISK_LIMIT)
    assert (answered.spec.disk_bytes, answered.reason, settled(answered)) == (1 << 30, DISK_LIMIT, True)
    both = update(running, replace(running.spec, disk_bytes=1 << 30, cpus=2.0), LATER)
    refused = _seen(update(both, replace(both.spec, disk_bytes=2 << 30), LATER), SessionState.RUNNING, RESIZE_REFUSED)
    assert (refused.spec.cpus, refused.spec.disk_bytes) == (running.spec.cpus, 2 << 30)


def test_refused_limits_are_taken_back() -> None:
    running = _seen(PLACED, SessionState.RUNNING)
    once = update(running, replace(running.spec, memory_bytes=1 << 30, cpus=2.0), LATER)
    smaller = update(once, replace(once.spec, memory_bytes=1 << 26), LATER)
    refused = _seen(smaller, SessionState.RUNNING, RESIZE_REFUSED)
    assert (refused.spec.limits, refused.reason, settled(refused)) == (running.spec.limits, RESIZE_REFUSED, True)
    assert refused.limits_before is None
    again = _seen(refused, SessionState.RUNNING)
    assert (again.spec, again.reason) == (refused.spec, "")


def test_a_container_that_ended_by_itself_and_stays_down_counts_as_stopped() -> None:
    ended = LastExit(3, "exit", LATER)
    report = replace(_report(PLACED, SessionState.STOPPED, ENDED), last_exit=ended)
    stopped = observe(_seen(PLACED, SessionState.RUNNING), report, LATER)
    assert (stopped.desired, stopped.state, stopped.generation) == (DesiredState.STOPPED, SessionState.STOPPED, 2)
    assert (stopped.last_exit, stopped.desired_by, settled(stopped)) == (ended, Author(cause=ChangeCause.ENDED), True)
    starting = set_desired(_seen(PLACED, SessionState.RUNNING), DesiredState.STOPPED, T0)
    assert observe(starting, report, LATER).generation == 2  # its owner asked for something else meanwhile


def test_an_exit_keeps_its_author_and_what_was_reported_first() -> None:
    running = _seen(PLACED, SessionState.RUNNING)
    stopping = set_desired(running, DesiredState.STOPPED, T0, ALICE)
    report = replace(_report(stopping, SessionState.STOPPED), last_exit=LastExit(0, "stopped", LATER))
    stopped = observe(stopping, report, LATER)
    assert stopped.last_exit == LastExit(0, "stopped", LATER, ALICE)
    bob = Author("bob", ChangeCause.PERSON)
    started = set_desired(stopped, DesiredState.RUNNING, LATER, bob)
    assert observe(started, replace(report, generation=3, state=SessionState.RUNNING), LATER).last_exit == (
        stopped.last_exit
    )
    oom = replace(_report(PLACED, SessionState.STARTING), last_exit=LastExit(137, "oom", LATER))
    killed = observe(running, oom, LATER)
    restarted = replace(oom, last_exit=LastExit(137, "killed", LATER))  # a restarted runner did not see the OOM kill
    assert observe(killed, restarted, LATER).last_exit == LastExit(137, "oom", LATER)


def test_a_wish_that_must_wait_says_for_what() -> None:
    deleting = defer(set_desired(lose(PLACED, T0), DesiredState.DELETED, T0), LATER)
    assert deleting.message == "its runner lab1 is offline: it will be removed when that returns"
    assert defer(deleting, LATER + timedelta(minutes=1)) is deleting


def test_an_assignment_is_what_is_wanted() -> None:
    sent = assignment(replace(PLACED, snapshot=_snapshot(1), revision=7))
    assert (sent.session_uid, sent.session_id, sent.owner_id) == ("uid", "dev1", "alice")
    assert (sent.epoch, sent.generation, sent.desired) == (1, 1, DesiredState.RUNNING)
    assert (sent.spec, sent.snapshot, sent.revision) == (NEW.spec, _snapshot(1), 7)


@given(
    st.integers(0, 3),
    st.integers(0, 4),
    st.sampled_from(list(SessionState)),
    st.sampled_from(REASONS),
    st.sampled_from(list(DesiredState)),
)
@settings(max_examples=200)
def test_observing_twice_is_observing_once(
    epoch: int, generation: int, state: SessionState, reason: str, desired: DesiredState
) -> None:
    session = set_desired(_seen(PLACED, SessionState.RUNNING), desired, T0)
    report = SessionReport("uid", epoch, generation, state, reason)
    once = observe(session, report, T0)
    assert observe(once, report, LATER) is once


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
