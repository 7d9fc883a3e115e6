"""What people in a session learn of its sleep: on login, before a stop, and when they ask; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.session.session import ChangeCause
from netvps.domain.sleep.idle import SignalState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.session.session import Session
    from netvps.domain.sleep.idle import Signal, SleepPlan
    from netvps.domain.sleep.policy import SleepDefaults

NV: Final = "/.netvps/bin/nv"
"""Path, in each session, of the program that asks for leases."""
_WHY: Final = {
    ChangeCause.IDLE: "it is idle",
    ChangeCause.SCHEDULE: "its awake hours end",
    ChangeCause.LIFETIME: "its lifetime is over",
}
_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def greeting(session: Session, defaults: SleepDefaults, now: datetime) -> str:
    """Says how long a session stays awake, in one line; '' if it never sleeps by itself."""
    policy = session.spec.sleep
    pause_after = defaults.pause_after if policy.pause_after is None else policy.pause_after
    stop_after = defaults.stop_after if policy.stop_after is None else policy.stop_after
    parts = [
        f"is paused after {span(pause_after)} without activity" if pause_after else "",
        f"stops after {span(stop_after)} without activity" if stop_after else "",
        f"stops {span(policy.lifetime)} after its start" if policy.lifetime else "",
        f"stops at the end of {policy.awake_hours} UTC" if policy.awake_hours else "",
    ]
    said = [part for part in parts if part]
    if not said:
        return ""
    kept = session.kept_until
    lease = f" Kept awake until {clock(kept)}." if kept and kept > now else ""
    return f"It {', '.join(said)}.{lease} To keep it awake: {NV} keep 2h\n"


def warning(plan: SleepPlan) -> str:
    """Says that a session is about to be stopped, for its open terminals; '' if no stop is planned."""
    if plan.stop_time is None:
        return ""
    left = max(0.0, (plan.stop_time - plan.time).total_seconds())
    remedy = {
        ChangeCause.IDLE: f"type something, or run {NV} keep 2h",
        ChangeCause.SCHEDULE: f"to go on, run {NV} keep 2h",
    }.get(plan.stop_cause, "save your work")
    why = _WHY.get(plan.stop_cause, "")
    return f"netvps: this session stops in {span(left)}, at {clock(plan.stop_time)}, because {why}: {remedy}"


def status(plan: SleepPlan) -> str:
    """The whole plan, in lines."""
    lines = []
    if plan.stop_time is not None:
        lines.append(f"stops at {clock(plan.stop_time)}, because {_WHY.get(plan.stop_cause, '')} then")
    if plan.pause_time is not None and (plan.stop_time is None or plan.pause_time < plan.stop_time):
        lines.append(f"is paused at {clock(plan.pause_time)}, if no one is connected")
    if plan.reason:
        lines.append(f"is not stopped for being idle: {plan.reason}")
    return "\n".join([*lines, *map(signal_line, plan.signals)])


def signal_line(signal: Signal) -> str:
    """One signal: "ssh: last 14:03:05 UTC, keeps it awake until 14:33:05 UTC"."""
    state = {
        SignalState.NONE: "none",
        SignalState.IDLE: f"last {clock(signal.last)}" if signal.last else "idle",
        SignalState.ACTIVE: "active",
        SignalState.UNKNOWN: "not known, which counts as active",
    }[signal.state]
    until = f", keeps it awake until {clock(signal.until)}" if signal.until else ""
    return f"{signal.kind.lower()}: {state}{until}"


def clock(time: datetime | None) -> str:
    """A time in UTC, with its day."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "an unknown time"


def span(seconds: float) -> str:
    """Seconds in the largest units: 5400 → 1h30m."""
    left, parts = max(1, round(seconds)), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])
