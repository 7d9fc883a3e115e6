"""`netvps why-awake`: what keeps a session awake, and when it is paused and stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.output import Column, View, emit, format_option
from netvps.display.units import moment_words

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.sleep.idle import Signal, SleepPlan

_WORDS = {
    "START": "started or resumed",
    "SSH": "ssh connections",
    "TERMINAL": "input on terminals",
    "FORWARD": "forwards",
    "HTTP": "http streams",
    "CPU": "cpus",
    "TASK": "commands (exec)",
    "LEASE": "lease (nv keep)",
    "AGENT": "agent",
}
_CAUSES = {"IDLE": "idle", "SCHEDULE": "end of its awake hours", "LIFETIME": "end of its lifetime"}


@click.command("why-awake")
@click.argument("name", type=SESSION)
@format_option
def why_awake(name: str, form: str) -> None:
    """Say what keeps a session awake, and when it is paused and stopped.

    The server computes this by the function that decides. What is not known counts as active. `netvps set` changes the
    rules (--idle-pause, --idle-stop, --lifetime, --awake); in the session, /.netvps/bin/nv keep TIME delays them.

    Example: netvps why-awake dev1
    """
    plan = client().sleep_plan(name)
    if form not in {"table", "wide"}:
        from netvps.rpc.jsonform import to_json

        plans: View[SleepPlan] = View(name=lambda _: name, columns=(), json=to_json)
        plans.print_one(plan, form)
        return
    for line in _lines(plan):
        emit(line)
    if plan.signals:
        emit("")
        _SIGNALS.print_all(plan.signals, form)


def _lines(plan: SleepPlan) -> list[str]:
    """What will happen, in words."""
    lines = []
    if plan.stop_time is not None:
        lines.append(f"stops at {moment_words(plan.stop_time)} ({_CAUSES.get(plan.stop_cause, 'as things are')})")
    if plan.pause_time is not None and (plan.stop_time is None or plan.pause_time < plan.stop_time):
        lines.append(f"is paused at {moment_words(plan.pause_time)} (idle)")
    if plan.reason:
        lines.append(f"is not stopped for being idle: {plan.reason}")
    return lines or ["stays awake"]


def _moment(time: datetime | None) -> str:
    return moment_words(time) if time else "-"


def _state(signal: Signal) -> str:
    if signal.kind == "CPU" and signal.state != "UNKNOWN":
        return f"{signal.state.lower()} ({signal.count:g} busy)"
    return f"{signal.state.lower()} ({signal.count:g} open)" if signal.count else signal.state.lower()


_SIGNALS: Final[View[Signal]] = View(
    name=lambda signal: _WORDS[signal.kind],
    columns=(
        Column("SIGNAL", lambda signal: _WORDS[signal.kind]),
        Column("STATE", _state),
        Column("LAST SEEN", lambda signal: _moment(signal.last)),
        Column("KEEPS IT AWAKE UNTIL", lambda signal: _moment(signal.until)),
    ),
    json=lambda signal: signal.kind,
)
