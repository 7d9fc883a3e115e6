"""The snapshots of one session, live: take, restore, clone, pin, delete."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from netvps.client import EventType, SnapshotChange, SnapshotState
from netvps.display.text import clean
from netvps.display.units import age, size_words
from netvps.errors import NetvpsError, TooOld, Unauthenticated, Unavailable
from netvps_tui.commands import command_line
from netvps_tui.dialogs.snapshot import ask_clone, ask_delete_snapshot, ask_restore, ask_take
from netvps_tui.pages.page import Page
from netvps_tui.theme import MUTED, STRONG, state_words
from netvps_tui.widgets.table import Column, RowTable

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from netvps.client import Session, Snapshot
    from netvps_tui.widgets.table import Cell

_CHANGES: Final = frozenset({"take", "restore", "clone", "pin", "delete"})
_AGAIN: Final = 2.0
"""Seconds after a break."""


class SnapshotsPage(Page):
    """Newest first."""

    tab = "sessions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n,p", "take", "take one"),
        Binding("enter", "restore", "restore", key_display="⏎"),
        Binding("c", "clone", "clone"),
        Binding("P", "pin", "pin, unpin"),
        Binding("d", "delete", "delete"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._snapshots: dict[str, Snapshot] = {}
        columns: list[Column[Snapshot]] = [
            Column("NAME", lambda snapshot: (snapshot.id, STRONG), 18, grow=1),
            Column("STATE", lambda snapshot: state_words(snapshot.state), 12),
            Column("AGE", lambda snapshot: (age(snapshot.create_time), MUTED), 4, right=True),
            Column(
                "SIZE", lambda snapshot: size_words(snapshot.size_bytes) if snapshot.size_bytes else "", 7, right=True
            ),
            Column("TAKEN FOR", lambda snapshot: (snapshot.cause.lower(), MUTED), 9, drop=2),
            Column("PINNED", lambda snapshot: "pinned" if snapshot.pinned else "", 6, drop=1),
            Column("ON", lambda snapshot: (", ".join(holder.name for holder in snapshot.holders), MUTED), 10, drop=3),
            Column("", self._about, 14, grow=4, drop=4),
        ]
        self.table: RowTable[Snapshot] = RowTable(columns, self._snapshots.get, id="table")

    def body(self) -> ComposeResult:
        """Whose, and the table."""
        yield Static(id="headline")
        yield self.table
        yield Static(id="empty", classes="hidden")

    def on_mount(self) -> None:
        """Follows the server."""
        self.table.focus()
        self._moved()
        self._show_headline("reading …")
        self.tui.news.subscribe(self, self._news)
        self.run_worker(self._follow(), name="snapshots", exit_on_error=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Read-only leaves out changes."""
        return not (self.tui.read_only and action in _CHANGES)

    def target(self) -> Snapshot | None:
        """The one under the cursor."""
        return self._snapshots.get(self.table.cursor or "")

    def action_take(self) -> None:
        """Asks for a name, and takes one."""
        ask_take(self.tui, self._session)

    def action_restore(self) -> None:
        """Asks, and restores in place."""
        if snapshot := self.target():
            ask_restore(self.tui, self._session, snapshot)

    def action_clone(self) -> None:
        """Asks for a name, and makes a session."""
        ask_clone(self.tui, self._session, self.target())

    def action_delete(self) -> None:
        """Asks, and deletes."""
        if snapshot := self.target():
            ask_delete_snapshot(self.tui, self._session, snapshot)

    def action_pin(self) -> None:
        """A pinned one is never deleted by age or number."""
        if snapshot := self.target():
            self.run_worker(self._pin(snapshot), exit_on_error=False)

    async def _pin(self, snapshot: Snapshot) -> None:
        verb = "unpin" if snapshot.pinned else "pin"
        self.show_command(command_line("snapshot", verb, self.called(self._session), snapshot.id))
        try:
            change = SnapshotChange(pinned=not snapshot.pinned)
            await self.tui.client.update_snapshot(str(self._session.full_name), snapshot.id, change)
        except NetvpsError as error:
            self.tui.refused(error)

    def _news(self, uids: set[str]) -> None:
        if self._session.uid in uids:
            self._session = self.tui.live.sessions.get(self._session.uid, self._session)  # it may have another name
            if self._gone:
                self._show_headline("was removed, with its snapshots")

    @property
    def _gone(self) -> bool:
        return self.tui.live.complete and self._session.uid not in self.tui.live.sessions

    async def _follow(self) -> None:
        while not self._gone:
            try:
                await self._watch_once(str(self._session.full_name))
            except (TooOld, Unavailable):
                pass
            except Unauthenticated as error:
                self.tui.refused(error)
                return
            except NetvpsError as error:
                self._show_headline(clean(error.message))
                return
            await asyncio.sleep(_AGAIN)

    async def _watch_once(self, name: str) -> None:
        listed: dict[str, Snapshot] | None = {}
        async with aclosing(self.tui.client.watch_snapshots(name)) as events:
            async for event in events:
                snapshot = event.snapshot
                if snapshot is None:  # CAUGHT_UP: what is not in the list is gone
                    self._snapshots.clear()
                    self._snapshots.update(listed or {})
                    listed = None
                elif event.type is EventType.DELETED:
                    self._snapshots.pop(snapshot.uid, None)
                else:
                    (self._snapshots if listed is None else listed)[snapshot.uid] = snapshot
                if listed is None:
                    self._show()

    def _show(self) -> None:
        newest = sorted(self._snapshots.values(), key=lambda snapshot: snapshot.create_time, reverse=True)
        self.table.show([snapshot.uid for snapshot in newest], self._snapshots.keys())
        total = sum(snapshot.size_bytes for snapshot in newest)
        size = f"   {size_words(total)}" if total else ""
        if not self._gone:
            self._show_headline(f"{len(newest)} snapshot{'' if len(newest) == 1 else 's'}{size}")
        self.table.set_class(not newest, "hidden")
        empty = self.query_one("#empty", Static)
        empty.set_class(bool(newest), "hidden")
        empty.update(
            Content.assemble(
                ("no snapshots yet\n\n", "$muted"), ("n", "$accent"), (" takes one; so does a stop", "$faint")
            )
        )

    def _show_headline(self, words: str) -> None:
        head = Content.assemble((f"{self.called(self._session)}  ", "bold"), (words, "$muted"))
        self.query_one("#headline", Static).update(head)

    @on(RowTable.Moved)
    def _moved(self) -> None:
        snapshot, name = self.target(), self.called(self._session)
        words = ("snapshot", "restore", name, snapshot.id) if snapshot else ("snapshot", "create", name)
        self.show_command(command_line(*words))

    @staticmethod
    def _about(snapshot: Snapshot) -> Cell:
        failed = snapshot.state is SnapshotState.FAILED
        lacking = "; ".join(snapshot.warnings)
        return clean(snapshot.message if failed else snapshot.description or lacking or snapshot.message), MUTED
