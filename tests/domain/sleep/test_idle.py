"""When sessions are paused and stopped: signal by signal, state by state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netvps.domain.moves.move import Move, MoveStage
from netvps.domain.session.lifecycle import PAUSE_FAILED
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.idle import Facts, SignalKind, SignalState, SleepAction, SleepPlan, decide
from netvps.domain.sleep.policy import SleepDefaults, SleepPolicy
from netvps.domain.tunnel import Activity

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NONE, PAUSE, STOP = SleepAction.NONE, SleepAction.PAUSE, SleepAction.STOP
HOUR = 3600.0
RULES = SleepPolicy(pause_after=HOUR / 2, stop_after=HOUR)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


LONG_AGO = ago(600)
RUNNING = Session(
    uid="u1",
    name="dev1",
    owner="ann",
    spec=SessionSpec(image="debian:12", sleep=RULES),
    desired=DesiredState.RUNNING,
    generation=2,
    create_time=LONG_AGO,
    update_time=LONG_AGO,
    state=SessionState.RUNNING,
    runner="r1",
    desired_by=Author("ann", ChangeCause.PERSON),
    desired_time=LONG_AGO,
    run_time=LONG_AGO,
)
PAUSED = replace(
    RUNNING,
    desired=DesiredState.PAUSED,
    state=SessionState.PAUSED,
    desired_by=Author(cause=ChangeCause.IDLE),
    desired_time=ago(20),
)
QUIET = Activity(0, 0, None, cpus=0.0)
MOVE = Move("m1", "ann", "r1", "lab1", NOW, MoveStage.COPYING, stopped=True)


def with_policy(session: Session, **changes: Any) -> Session:
    return replace(session, spec=replace(session.spec, sleep=replace(session.spec.sleep, **changes)))


def plan(session: Session, activity: Activity | None = QUIET, **more: Any) -> SleepPlan:
    defaults = more.pop("defaults", SleepDefaults())
    return decide(Facts(session, defaults, activity, **more), NOW)


def seen(**changes: Any) -> Activity:
    return replace(QUIET, **changes)


@pytest.mark.parametrize(
    ("session", "activity", "more", "action", "stop"),
    [
        # Nothing was seen since its start, long ago.
        (RUNNING, QUIET, {}, STOP, ago(540)),
        (replace(RUNNING, desired_time=ago(40)), QUIET, {}, PAUSE, ago(-20)),
        (replace(RUNNING, desired_time=ago(10)), QUIET, {}, NONE, ago(-50)),
        # SSH: traffic counts from when it was seen; a connection without traffic, dead or silent, does not count.
        (RUNNING, seen(last_byte_time=ago(10)), {}, NONE, ago(-50)),
        (RUNNING, seen(channels=3, last_byte_time=ago(10)), {}, NONE, ago(-50)),
        (RUNNING, seen(channels=3, last_byte_time=ago(61)), {}, STOP, ago(1)),
        (RUNNING, seen(channels=3), {}, STOP, ago(540)),
        # One that is open is not paused: its input could not resume it.
        (RUNNING, seen(channels=1, last_byte_time=ago(40)), {}, NONE, ago(-20)),
        (RUNNING, seen(last_byte_time=ago(40)), {}, PAUSE, ago(-20)),
        # Terminals, forwards.
        (RUNNING, seen(terminals=1, last_input_time=ago(5)), {}, NONE, ago(-55)),
        (RUNNING, seen(forwards=1, last_forward_time=ago(7)), {}, NONE, ago(-53)),
        (RUNNING, seen(last_input_time=ago(5), last_byte_time=ago(50)), {}, NONE, ago(-55)),
        # HTTP streams and commands count as long as they are there.
        (RUNNING, QUIET, {"http_streams": 1}, NONE, None),
        (RUNNING, QUIET, {"tasks": 1}, NONE, None),
        # CPUs.
        (RUNNING, seen(cpus=0.04), {}, STOP, ago(540)),
        (RUNNING, seen(cpus=0.05), {}, NONE, None),
        (RUNNING, seen(cpus=0.04, busy_time=ago(3)), {}, NONE, ago(-57)),
        (with_policy(RUNNING, cpu_floor=2.0), seen(cpus=1.5), {}, STOP, ago(540)),
        # What is not known counts as active.
        (RUNNING, seen(cpus=None), {}, NONE, None),
        (RUNNING, None, {}, NONE, None),
        # Leases.
        (replace(RUNNING, kept_until=ago(-30)), QUIET, {}, NONE, ago(-30)),
        (replace(RUNNING, kept_until=ago(30)), QUIET, {}, STOP, ago(30)),
        (replace(RUNNING, kept_until=ago(-30)), seen(last_byte_time=ago(1)), {}, NONE, ago(-59)),
        # Paused: by the rules, it is stopped when it would have been; by a person, it stays.
        (PAUSED, None, {}, NONE, ago(-10)),
        (replace(PAUSED, desired_time=ago(31)), None, {}, STOP, ago(1)),
        (replace(PAUSED, kept_until=ago(-60)), None, {}, NONE, ago(-60)),
        (replace(PAUSED, desired_by=Author("ann", ChangeCause.PERSON), desired_time=LONG_AGO), None, {}, NONE, None),
        # The lifetime counts from the last start, and nothing delays it.
        (with_policy(RUNNING, lifetime=HOUR), seen(last_byte_time=NOW), {"tasks": 1}, STOP, ago(540)),
        (with_policy(replace(RUNNING, run_time=ago(30)), lifetime=HOUR), None, {}, NONE, ago(-30)),
        (replace(with_policy(RUNNING, lifetime=11 * HOUR), kept_until=ago(-600)), QUIET, {}, NONE, ago(-60)),
        # Awake hours: activity does not delay their end, a lease does.
        (with_policy(RUNNING, awake_hours="08:00-11:00"), seen(last_byte_time=NOW), {}, STOP, ago(60)),
        (with_policy(RUNNING, awake_hours="01:00-12:30"), None, {}, NONE, ago(-30)),
        (replace(with_policy(RUNNING, awake_hours="01:00-11:00"), kept_until=ago(-90)), None, {}, NONE, ago(-90)),
        (with_policy(replace(RUNNING, run_time=ago(30)), awake_hours="08:00-11:00"), None, {}, NONE, ago(-23 * 60)),
        # No rules, or those of the server.
        (with_policy(RUNNING, pause_after=None, stop_after=None), QUIET, {}, NONE, None),
        (with_policy(RUNNING, pause_after=0.0, stop_after=0.0), QUIET, {"defaults": SleepDefaults(60, 60)}, NONE, None),
        (
            with_policy(RUNNING, pause_after=None, stop_after=None),
            QUIET,
            {"defaults": SleepDefaults(0, 60)},
            STOP,
            ago(599),
        ),
        (with_policy(RUNNING, stop_after=0.0), QUIET, {}, PAUSE, None),
        # States in which nothing is done.
        (replace(RUNNING, state=SessionState.STARTING), QUIET, {}, NONE, None),
        (replace(RUNNING, state=SessionState.UNREACHABLE), QUIET, {}, NONE, None),
        (replace(RUNNING, state=SessionState.PAUSED), QUIET, {}, NONE, None),
        (replace(RUNNING, desired=DesiredState.STOPPED), QUIET, {}, NONE, None),
        (replace(RUNNING, desired=DesiredState.DELETED), QUIET, {}, NONE, None),
        (replace(RUNNING, move=MOVE), QUIET, {}, NONE, None),
        # A pause that failed is not tried again; the stop follows.
        (replace(PAUSED, state=SessionState.RUNNING, reason=PAUSE_FAILED), QUIET, {}, NONE, ago(-40)),
    ],
)
def test_signals_and_states(
    session: Session, activity: Activity | None, more: dict[str, Any], action: SleepAction, stop: datetime | None
) -> None:
    found = plan(session, activity, **more)
    assert (found.action, found.stop_time) == (action, stop)


def test_each_signal_says_its_part() -> None:
    busy = seen(channels=2, last_byte_time=ago(10), terminals=1, last_input_time=ago(20), cpus=0.5)
    found = plan(replace(RUNNING, kept_until=ago(-5)), busy, tasks=3)
    parts = {signal.kind: (signal.state, signal.last, signal.until, signal.count) for signal in found.signals}
    assert parts == {
        SignalKind.START: (SignalState.IDLE, LONG_AGO, ago(540), 0),
        SignalKind.SSH: (SignalState.IDLE, ago(10), ago(-50), 2),
        SignalKind.TERMINAL: (SignalState.IDLE, ago(20), ago(-40), 1),
        SignalKind.FORWARD: (SignalState.NONE, None, None, 0),
        SignalKind.CPU: (SignalState.ACTIVE, None, None, 0.5),
        SignalKind.HTTP: (SignalState.NONE, None, None, 0),
        SignalKind.TASK: (SignalState.ACTIVE, None, None, 3),
        SignalKind.LEASE: (SignalState.ACTIVE, None, ago(-5), 0),
    }
    assert found.reason == "active or not known: CPU, TASK"


@pytest.mark.parametrize(
    ("session", "cause", "warned"),
    [
        (replace(RUNNING, desired_time=ago(10)), ChangeCause.IDLE, ago(-45)),
        (with_policy(replace(RUNNING, desired_time=ago(0)), stop_after=120.0), ChangeCause.IDLE, ago(-1)),
        (with_policy(RUNNING, stop_after=0.0, lifetime=11 * HOUR), ChangeCause.LIFETIME, ago(-55)),
        (with_policy(RUNNING, stop_after=0.0, awake_hours="01:00-13:00"), ChangeCause.SCHEDULE, ago(-55)),
    ],
)
def test_the_warning_comes_five_minutes_before_or_half_of_the_idle_time(
    session: Session, cause: ChangeCause, warned: datetime
) -> None:
    found = plan(session)
    assert (found.stop_cause, found.warn_time) == (cause, warned)


def test_a_row_of_an_earlier_version_counts_from_its_last_change() -> None:
    old = replace(RUNNING, desired_time=None, run_time=None, update_time=ago(10))
    assert plan(old).stop_time == ago(-50)
    assert plan(with_policy(old, lifetime=HOUR / 2)).stop_time == ago(-20)
