"""`netvps watch`: every change of sessions, as it happens."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.output import emit, json_text
from netvps.cli.ui.terminal import paint, state_colour
from netvps.display.text import clean

if TYPE_CHECKING:
    from netvps.domain.session.event import SessionEvent


@click.command("watch")
@click.option("-a", "--all", "everybody", is_flag=True, help="All sessions you may see, not only your own.")
@click.option("--from-revision", type=click.IntRange(min=0), default=0, metavar="N", help="Only what came after this.")
@click.option("-o", "--output", "form", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
def watch(everybody: bool, from_revision: int, form: str) -> None:
    """Print every change of sessions until Ctrl-C; begins with those that there are, and survives restarts.

    Example: netvps watch -o jsonl
    """
    from netvps.cli.ui.follow import pumped

    with pumped(client(), "-" if everybody else "", from_revision) as pump:
        while True:
            event = pump.next(1.0)
            if event is None:
                continue
            line = json_text(event_json(event)) if form == "jsonl" else event_line(event, own=not everybody)
            if line:
                emit(line)
                sys.stdout.flush()


def event_json(event: SessionEvent) -> dict[str, Any]:
    """The JSON form of WatchSessionsResponse."""
    from netvps.cli.session.sessions import to_json

    return to_json(event)


def event_line(event: SessionEvent, *, own: bool) -> str:
    """One line for people; '' for an event without a session."""
    session = event.session
    if session is None:
        return ""
    state = "DELETED" if event.type == "DELETED" else str(session.state)
    name = session.name if own else str(session.full_name)
    shown = paint(state.ljust(12), state_colour(state), sys.stdout)
    return f"{_time_words(event)}  {clean(name):<20}  {shown}  {clean(session.message)}".rstrip()


def _time_words(event: SessionEvent, now: datetime | None = None) -> str:
    """When it happened: of a change, when the server recorded it, with the date unless that is today."""
    now = now or datetime.now().astimezone()
    recorded = event.session is not None and event.type != "PROGRESS"
    moment = event.session.update_time.astimezone() if recorded and event.session else now
    return f"{moment:%H:%M:%S}" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M:%S}"
