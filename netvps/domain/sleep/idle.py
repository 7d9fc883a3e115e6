"""When a session is paused and stopped, by its signals and its policy; pure.

One function decides, for the rules and for people (`netvps why-awake`), so that both always say the same. Each signal
keeps a session awake: while it is active, or for the idle time after it was last seen. What is not known counts as
active. A connection without traffic is no signal, whether its other end is dead or only silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from netvps.domain.session.lifecycle import PAUSE_FAILED
from netvps.domain.session.session import ChangeCause, DesiredState, SessionState
from netvps.domain.sleep.policy import DEFAULT_CPU_FLOOR

if TYPE_CHECKING:
    from netvps.domain.session.session import Session
    from netvps.domain.sleep.policy import SleepDefaults
    from netvps.domain.tunnel import Activity

WARNING_SECONDS: Final = 300.0
"""How long before a stop open terminals are warned."""


class SignalKind(StrEnum):
    """What keeps a session awake."""

    START = "START"
    """Its last start or resume."""
    SSH = "SSH"
    TERMINAL = "TERMINAL"
    FORWARD = "FORWARD"
    HTTP = "HTTP"
    CPU = "CPU"
    TASK = "TASK"
    LEASE = "LEASE"
    """From inside: nv keep."""
    AGENT = "AGENT"
    """Its agent, if it reports nothing."""


class SignalState(StrEnum):
    """What is known of a signal."""

    NONE = "NONE"
    IDLE = "IDLE"
    """It was seen, and is not active any more."""
    ACTIVE = "ACTIVE"
    UNKNOWN = "UNKNOWN"
    """Counts as active."""


class SleepAction(StrEnum):
    """What is to be done with a session now."""

    NONE = "NONE"
    PAUSE = "PAUSE"
    STOP = "STOP"


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal, and its part in the decision."""

    kind: SignalKind
    state: SignalState = SignalState.NONE
    last: datetime | None = None
    """When it was last seen, if it is IDLE."""
    until: datetime | None = None
    """Until when it alone keeps the session from being stopped, if that is known."""
    count: float = 0.0
    """Open channels, terminals, forwards, streams or tasks; busy CPUs."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a session. `activity` is the last report of its agent; None if there is none."""

    session: Session
    defaults: SleepDefaults
    activity: Activity | None = None
    tasks: int = 0
    """Commands that run for the API."""
    http_streams: int = 0
    http_time: datetime | None = None
    """When the number of HTTP connections last changed."""


@dataclass(frozen=True, slots=True)
class SleepPlan:
    """What is to be done now, and what will be done if no signal changes."""

    time: datetime
    action: SleepAction = SleepAction.NONE
    signals: tuple[Signal, ...] = ()
    pause_time: datetime | None = None
    stop_time: datetime | None = None
    stop_cause: ChangeCause = ChangeCause.UNSPECIFIED
    """Why it is stopped then."""
    warn_time: datetime | None = None
    """When open terminals are to be warned of the stop."""
    reason: str = ""
    """Why the idle rules do not stop it, if they do not, in words."""


def decide(facts: Facts, now: datetime) -> SleepPlan:
    """The plan of a session."""
    session = facts.session
    if reason := _reason_to_wait(session):
        return SleepPlan(now, reason=reason)
    policy, defaults = session.spec.sleep, facts.defaults
    pause_after = defaults.pause_after if policy.pause_after is None else policy.pause_after
    stop_after = defaults.stop_after if policy.stop_after is None else policy.stop_after
    signals = _signals_of_paused(session, pause_after, now) if _is_paused(session) else _signals(facts, now)
    signals = tuple(_with_end(signal, stop_after, session.kept_until) for signal in signals)
    base = _idle_since(signals)
    idle_stop = _after(base, stop_after, session.kept_until)
    pause_time = None
    if session.desired is DesiredState.RUNNING and not (facts.activity and facts.activity.channels):
        pause_time = _after(base, pause_after, session.kept_until)
    reason = _reason_to_stay(session, signals, stop_after)
    if reason:
        idle_stop = None
    stops = [(idle_stop, ChangeCause.IDLE), *_hard_stops(session)]
    stop_time, cause = min(((at, why) for at, why in stops if at is not None), default=(None, ChangeCause.UNSPECIFIED))
    action = SleepAction.NONE
    if stop_time is not None and stop_time <= now:
        action = SleepAction.STOP
    elif pause_time is not None and pause_time <= now:
        action = SleepAction.PAUSE
    ahead = min(WARNING_SECONDS, stop_after / 2) if cause is ChangeCause.IDLE else WARNING_SECONDS
    warn_time = stop_time - timedelta(seconds=ahead) if stop_time else None
    return SleepPlan(now, action, signals, pause_time, stop_time, cause, warn_time, reason)


def _is_paused(session: Session) -> bool:
    return session.desired is DesiredState.PAUSED and session.reason != PAUSE_FAILED


def _reason_to_wait(session: Session) -> str:
    """Why nothing is done with it now; '' if something may be."""
    if session.desired not in {DesiredState.RUNNING, DesiredState.PAUSED}:
        return "it is to be stopped or deleted"
    if session.move is not None and session.move.is_open:
        return "it is moving to another runner"
    if session.state is SessionState.UNREACHABLE:
        return "its runner is offline, so nothing is known of it"
    goal = SessionState.PAUSED if _is_paused(session) else SessionState.RUNNING
    return "" if session.state is goal else f"it is {session.state}, not {goal} yet"


def _reason_to_stay(session: Session, signals: tuple[Signal, ...], stop_after: float) -> str:
    """Why the idle rules do not stop it, as things are; '' if they do."""
    if not stop_after:
        return "it has no idle time after which it is stopped"
    if _is_paused(session) and session.desired_by.cause is not ChangeCause.IDLE:
        return "a person paused it"
    active = [signal.kind for signal in signals if signal.state in _HOLDING and signal.kind is not SignalKind.LEASE]
    return f"active or not known: {', '.join(active)}" if active else ""


_HOLDING: Final = frozenset({SignalState.ACTIVE, SignalState.UNKNOWN})


def _idle_since(signals: tuple[Signal, ...]) -> datetime | None:
    """Since when no signal was seen; None as long as one is active. A lease ends by itself, and moves no time."""
    if any(signal.state in _HOLDING for signal in signals if signal.kind is not SignalKind.LEASE):
        return None
    return max((signal.last for signal in signals if signal.last is not None), default=None)


def _after(base: datetime | None, seconds: float, kept_until: datetime | None) -> datetime | None:
    if base is None or not seconds:
        return None
    return _later(base + timedelta(seconds=seconds), kept_until)


def _later(time: datetime, other: datetime | None) -> datetime:
    return time if other is None else max(time, other)


def _hard_stops(session: Session) -> list[tuple[datetime | None, ChangeCause]]:
    """The stops that no activity delays; a lease delays the end of awake hours."""
    policy, began = session.spec.sleep, session.run_time or session.update_time
    lifetime = began + timedelta(seconds=policy.lifetime) if policy.lifetime else None
    hours = policy.hours
    schedule = _later(hours.next_end(began), session.kept_until) if hours else None
    return [(lifetime, ChangeCause.LIFETIME), (schedule, ChangeCause.SCHEDULE)]


def _signals_of_paused(session: Session, pause_after: float, now: datetime) -> tuple[Signal, ...]:
    """What counts while its processes are frozen: when it was last active before, and a lease."""
    paused = session.desired_time or session.update_time
    by_rule = session.desired_by.cause is ChangeCause.IDLE
    last = paused - timedelta(seconds=pause_after) if by_rule else paused
    return (Signal(SignalKind.START, SignalState.IDLE, last), _lease(session, now))


def _signals(facts: Facts, now: datetime) -> tuple[Signal, ...]:
    session, activity = facts.session, facts.activity
    start = Signal(SignalKind.START, SignalState.IDLE, session.desired_time or session.update_time)
    http = _seen(SignalKind.HTTP, facts.http_time, 0)
    if facts.http_streams:
        http = _running(SignalKind.HTTP, facts.http_streams)
    served = (http, _running(SignalKind.TASK, facts.tasks))
    lease = _lease(session, now)
    if activity is None:
        return (start, Signal(SignalKind.AGENT, SignalState.UNKNOWN), *served, lease)
    return (
        start,
        _seen(SignalKind.SSH, activity.last_byte_time, activity.channels),
        _seen(SignalKind.TERMINAL, activity.last_input_time, activity.terminals),
        _seen(SignalKind.FORWARD, activity.last_forward_time, activity.forwards),
        _cpu(activity, session.spec.sleep.cpu_floor or DEFAULT_CPU_FLOOR),
        *served,
        lease,
    )


def _seen(kind: SignalKind, last: datetime | None, count: int) -> Signal:
    return Signal(kind, SignalState.IDLE if last else SignalState.NONE, last, count=count)


def _running(kind: SignalKind, count: int) -> Signal:
    return Signal(kind, SignalState.ACTIVE if count else SignalState.NONE, count=count)


def _cpu(activity: Activity, floor: float) -> Signal:
    if activity.cpus is None:
        return Signal(SignalKind.CPU, SignalState.UNKNOWN)
    if activity.cpus >= floor:
        return Signal(SignalKind.CPU, SignalState.ACTIVE, count=activity.cpus)
    state = SignalState.IDLE if activity.busy_time else SignalState.NONE
    return Signal(SignalKind.CPU, state, activity.busy_time, count=activity.cpus)


def _lease(session: Session, now: datetime) -> Signal:
    until = session.kept_until
    if until is None:
        return Signal(SignalKind.LEASE)
    return Signal(SignalKind.LEASE, SignalState.ACTIVE if until > now else SignalState.NONE)


def _with_end(signal: Signal, stop_after: float, kept_until: datetime | None) -> Signal:
    if signal.kind is SignalKind.LEASE:
        until = kept_until if signal.state is SignalState.ACTIVE else None
    elif signal.state is SignalState.IDLE and signal.last and stop_after:
        until = signal.last + timedelta(seconds=stop_after)
    else:
        return signal
    return Signal(signal.kind, signal.state, signal.last, until, signal.count)
