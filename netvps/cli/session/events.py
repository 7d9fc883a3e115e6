"""`netvps events`: what happened to a session, from the server's log, and what happens to it now."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from netvps.cli.server.connect import client
from netvps.cli.session.sessions import author_words, exit_words
from netvps.cli.session.watch import event_json, event_line
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.output import emit, json_text, note
from netvps.errors import TooOld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.client import Client
    from netvps.domain.session.event import SessionEvent
    from netvps.domain.session.session import LastExit, Session


@click.command("events")
@click.argument("name", type=SESSION)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("-o", "--output", "form", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
def events(name: str, follow: bool, form: str) -> None:
    """Print what happened to a session, as far back as the server's log goes.

    Example: netvps events dev1
    """
    connection = client()
    printer = _Printer(connection.get_session(name), form)
    revision = printer.print_until_now(_history(connection, printer.session))
    if not follow:
        return
    from netvps.cli.ui.follow import pumped

    with pumped(connection, printer.session.owner, revision) as pump:
        while True:
            if (event := pump.next(1.0)) is not None:
                printer.print(event)


@dataclass(slots=True)
class _Printer:
    """Prints the events of one session, and of each state only the first of many that look the same."""

    session: Session
    form: str
    last: str = ""
    generation: int = 0
    exit: LastExit | None = None

    def print(self, event: SessionEvent) -> None:
        if event.session is None or event.session.uid != self.session.uid:
            return
        if self.form == "jsonl":
            emit(json_text(event_json(event)))
        else:
            line = event_line(event, own=True) + self._causes(event.session)
            what = line.partition("  ")[2]  # without the time
            if what == self.last:
                return
            self.last = what
            emit(line)
        sys.stdout.flush()

    def _causes(self, session: Session) -> str:
        """Who asked for what, and how the container ended, if that is new."""
        words = []
        if session.generation > self.generation and (who := author_words(session.desired_by)):
            words.append(f"{session.desired} asked by {who}")
        if session.last_exit and session.last_exit != self.exit:
            words.append(exit_words(session.last_exit))
        self.generation, self.exit = session.generation, session.last_exit
        return f"  [{'; '.join(words)}]" if words else ""

    def print_until_now(self, found: Iterator[SessionEvent]) -> int:
        """Prints all up to the end of the log; returns the revision of that."""
        for event in found:
            if event.session is None:
                return event.revision
            self.print(event)
        return self.session.revision


def _history(connection: Client, session: Session) -> Iterator[SessionEvent]:
    """What the log still has of the session's owner. Where its beginning is gone, the session's present state."""
    try:
        yield from connection.watch_sessions(session.owner, 1)
    except TooOld:
        note("earlier events are not in the server's log any more")
        yield from connection.watch_sessions(session.owner, 0)
