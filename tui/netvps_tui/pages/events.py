"""What happened to all sessions: from the server's log, and live."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.widgets import Static

from netvps.client import EventType
from netvps.display.text import clean
from netvps.errors import NetvpsError
from netvps_tui.commands import command_line
from netvps_tui.pages.page import Page
from netvps_tui.theme import FAINT, MUTED, STRONG, state_words
from netvps_tui.widgets.table import Column, RowTable

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from netvps.client import SessionEvent
    from netvps_tui.widgets.table import Cell

_BEFORE: Final = 500
"""Revisions before now that are read from the log."""
_MOST: Final = 2000


class EventsPage(Page):
    """Newest first; each with its session, state and reason."""

    tab = "events"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open", "session")]

    def __init__(self) -> None:
        super().__init__()
        self._events: dict[str, SessionEvent] = {}
        columns: list[Column[SessionEvent]] = [
            Column("WHEN", self._when, 14),
            Column("SESSION", self._session_name, 16, grow=2),
            Column("STATE", self._state, 14),
            Column(
                "RUNNER", lambda event: (event.session.runner_name if event.session else "", MUTED), 12, grow=1, drop=2
            ),
            Column("WHY", self._why, 16, grow=5, drop=1),
        ]
        self.table: RowTable[SessionEvent] = RowTable(columns, self._events.get, id="table")

    def body(self) -> ComposeResult:
        """A line, and the table."""
        yield Static("reading the server's log …", id="summary")
        yield self.table

    def on_mount(self) -> None:
        """Shows what is known, and reads what was before."""
        self.tui.news.subscribe(self, lambda _: self._show())
        self.table.focus()
        self._show()
        self.run_worker(self._read(), name="events", exit_on_error=False)

    async def _read(self) -> None:
        last = max((session.revision for session in self.tui.live.sessions.values()), default=0)
        with suppress(NetvpsError):  # the log does not go back that far: events begin now
            async with aclosing(self.tui.client.watch_sessions("-", max(1, last - _BEFORE), timeout=20)) as events:
                async for event in events:
                    if event.session is None:
                        break
                    self._take(event)
        self._show()
        self.query_one("#summary", Static).update(f"the last {_BEFORE} changes of the server's log, and each new one")

    def _take(self, event: SessionEvent) -> None:
        if event.session is not None and event.type is not EventType.PROGRESS:
            self._events[f"{event.revision}"] = event

    def _show(self) -> None:
        for event in self.tui.live.events:
            self._take(event)
        keys = sorted(self._events, key=int, reverse=True)
        for old in keys[_MOST:]:
            del self._events[old]
        self.table.show(keys[:_MOST])

    @on(RowTable.Moved)
    def _moved(self) -> None:
        event = self._events.get(self.table.cursor or "")
        session = event.session if event else None
        self.show_command(command_line("events", self.called(session)) if session else "netvps watch")

    @on(RowTable.Opened)
    def _opened(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Shows the session of the event."""
        from netvps_tui.pages.session import SessionPage

        event = self._events.get(self.table.cursor or "")
        if event and event.session and (session := self.tui.live.sessions.get(event.session.uid)):
            self.app.push_screen(SessionPage(session))

    @staticmethod
    def _when(event: SessionEvent) -> Cell:
        return (f"{event.session.update_time.astimezone():%m-%d %H:%M:%S}" if event.session else "", FAINT)

    def _session_name(self, event: SessionEvent) -> Cell:
        return (self.called(event.session) if event.session else "", STRONG)

    @staticmethod
    def _state(event: SessionEvent) -> Cell:
        if event.session is None:
            return ""
        return state_words("DELETED" if event.type is EventType.DELETED else str(event.session.state))

    @staticmethod
    def _why(event: SessionEvent) -> Cell:
        return (clean(event.session.message or event.session.reason) if event.session else "", MUTED)
