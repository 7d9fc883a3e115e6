"""Home: all sessions, live."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Static

from netvps.client import DesiredState, SessionFilter, SessionState
from netvps.display.palette import RGB, Tone, look
from netvps.display.text import clean
from netvps.display.units import age, size_words
from netvps.errors import InvalidInput
from netvps_tui.commands import command_line
from netvps_tui.live import Status
from netvps_tui.pages.actions import SessionActions
from netvps_tui.pages.page import whole_parts
from netvps_tui.rows import ORDERS, Rows
from netvps_tui.theme import FAINT, MUTED, STRONG, glyph, state_words
from netvps_tui.widgets.table import Column, RowTable
from netvps_tui.work import restart

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from netvps.client import Session
    from netvps_tui.widgets.table import Cell

_PAUSE: Final = 0.2
"""Seconds without a key after which the server filters, where it has to."""


def limits(session: Session) -> str:
    """CPUs and memory of a session, as its owner set them."""
    if not session.spec.cpus and not session.spec.memory_bytes:
        return ""
    cpus = f"{session.spec.cpus:g}" if session.spec.cpus else "-"
    return f"{cpus} · {size_words(session.spec.memory_bytes) if session.spec.memory_bytes else '-'}"


class SessionsPage(SessionActions):
    """The list, with a filter, an order, and actions for one or several."""

    tab = "sessions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", key_display="⏎"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("space", "mark", "select", show=False),
        Binding("o", "order", "order", show=False),
        Binding("escape", "clear", "clear", show=False),
        Binding("question_mark", "app.help", "help", key_display="?"),
        Binding("q", "app.back", "quit"),
    ]

    def __init__(self, uid: str = "") -> None:
        """`uid` is the session to begin at."""
        super().__init__()
        self._wanted = uid
        self._rows = Rows()
        self._filter = ""
        self._problem = ""
        """What is wrong with the filter; the list is as before it."""
        self._me = ""
        columns: list[Column[Session]] = [
            Column("NAME", lambda session: (self.called(session), STRONG), 14, grow=1),
            Column("STATE", self._state, 14),
            Column("IMAGE", lambda session: (session.spec.image.removesuffix(":latest"), MUTED), 13, grow=1, drop=2),
            Column("RUNNER", lambda session: (session.runner_name, MUTED), 9, drop=4),
            Column("CPU · MEM", lambda session: (limits(session), MUTED), 13, drop=6),
            Column("ADDRESS", lambda session: (session.address, MUTED), 15, drop=3),
            Column("AGE", lambda session: (age(session.create_time), MUTED), 4, right=True),
            Column("", self._message, 12, grow=7, drop=5),
        ]
        self.table: RowTable[Session] = RowTable(columns, self._get, id="table")

    def body(self) -> ComposeResult:
        """Summary or filter, then the table or what to do without one."""
        yield Static(id="summary")
        yield Input(
            placeholder="words; or state=RUNNING image:debian -runner=box1 labels.team=web",
            id="filter",
            classes="hidden",
            compact=True,
        )
        yield self.table
        yield Static(id="empty", classes="hidden")

    def on_mount(self) -> None:
        """Shows what is known, and then each change."""
        self.tui.news.subscribe(self, self._news)
        self.set_interval(5, self._ages)
        self._show_all()
        self.table.focus()

    def on_screen_resume(self) -> None:
        """What changed meanwhile."""
        self._show_all()

    def _get(self, uid: str) -> Session | None:
        return self.tui.live.sessions.get(uid)

    def target(self) -> Session | None:
        """The one under the cursor."""
        return self.tui.live.sessions.get(self.table.cursor or "")

    def targets(self) -> list[Session]:
        """Those that are marked, in the order of the list."""
        marked = [self.tui.live.sessions[uid] for uid in self.table.keys if uid in self.table.marked]
        return marked or super().targets()

    def look_at(self, uid: str) -> None:
        """Puts the cursor on a session as soon as it is in the list."""
        self._wanted = uid
        self._show_all()

    def action_open(self) -> None:
        """Shows all about the session."""
        from netvps_tui.pages.session import SessionPage

        if session := self.target():
            self.app.push_screen(SessionPage(session))

    def action_mark(self) -> None:
        """Selects it for the next action."""
        self.table.toggle()
        self._show_command()
        self._show_summary()

    def action_order(self) -> None:
        """Sorts by the next column."""
        orders = list(ORDERS)
        self._rows.order = orders[(orders.index(self._rows.order) + 1) % len(orders)]
        self._show_all()

    def action_filter(self) -> None:
        """Lets one type what to look for."""
        field = self.query_one("#filter", Input)
        field.remove_class("hidden")
        field.focus()

    def action_clear(self) -> None:
        """Takes back the filter, then the selection; then it leads back."""
        field = self.query_one("#filter", Input)
        if not field.has_class("hidden"):
            field.value = ""
            field.add_class("hidden")
            self.table.focus()
        elif self.table.marked:
            self.table.clear_marks()
            self._show_summary()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        self._filter, self._problem = event.value.strip(), ""
        try:
            self._rows.matching = SessionFilter.parse(self._filter)
        except InvalidInput as error:
            self._problem = error.violations[0].description
        restart(self, self._narrow, "filter")
        self._show_all()

    async def _narrow(self) -> None:
        await asyncio.sleep(_PAUSE)
        if not self._problem:
            self.tui.narrow(self._filter)

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        if not self._filter:
            self.action_clear()
        self.table.focus()

    @on(RowTable.Opened)
    def _opened(self) -> None:
        self.action_open()

    @on(RowTable.Moved)
    def _show_command(self) -> None:
        session = self.target()
        self.show_command(command_line("ssh", self.called(session)) if session else "netvps create")

    def _news(self, uids: set[str]) -> None:
        if self.is_current or self.app.screen.is_modal:
            self._show_all(uids)

    def _ages(self) -> None:
        """Time goes on: only lines whose age reads differently reach the terminal."""
        if self.is_current:
            self.table.refresh_changed()

    def _show_all(self, changed: set[str] | None = None) -> None:
        live = self.tui.live
        if changed is None:
            self._rows.arrange(live.sessions)
        else:
            self._rows.take(live.sessions, changed)
        self.table.show(self._rows.uids, changed)
        if self._wanted and self.table.move_to(self._wanted):
            self._wanted = ""
        if self._me != self.tui.me:
            self._me = self.tui.me
            self._show_top()
            self._show_command()
        self._show_summary()
        self._show_empty()

    def _show_summary(self) -> None:
        live = self.tui.live
        counts = Counter(session.state for session in live.sessions.values())
        total = len(live.sessions)
        plus = "+" if live.more else ""
        own: list[Content] = [Content(f"{total:,}{plus} session{'' if total == 1 else 's'}")]
        states: list[Content] = []
        for state in sorted(SessionState, key=lambda state: look(state).tone is not Tone.BAD):
            if counts[state]:
                shown = look(state)
                states.append(
                    Content.assemble((f"{glyph(shown)} ", RGB[shown.tone]), f"{counts[state]:,} {state.lower()}")
                )
        if self._problem:
            own.append(Content.styled(self._problem, "$error"))
        elif self._filter:
            own.append(Content.styled(f"{len(self.table.keys):,} match", "$accent"))
        if self.table.marked:
            own.append(Content.styled(f"{len(self.table.marked)} selected", "$accent"))
        if self._rows.order != "name":
            own.append(Content.styled(f"by {self._rows.order}", "$accent"))
        shown_parts = whole_parts([*own, *states], self.size.width - 4)  # failures are first
        self.query_one("#summary", Static).update(shown_parts.stylize_before("$muted"))

    def _show_status(self) -> None:
        super()._show_status()
        self._show_empty()

    def _show_empty(self) -> None:
        live = self.tui.live
        empty = self.query_one("#empty", Static)
        nothing = not self.table.keys
        empty.set_class(not nothing, "hidden")
        self.table.set_class(nothing, "hidden")
        if not nothing:
            return
        if live.sessions:
            words = Content.assemble(
                ("no session matches\n\n", "$muted"), ("esc", "$accent"), (" clears the filter", "$faint")
            )
        elif live.complete:
            words = Content.assemble(
                ("no sessions yet\n\n", "$muted"),
                ("n", "$accent"),
                (" creates one, as does ", "$faint"),
                ("netvps create", "$muted"),
            )
        elif live.status is Status.CONNECTING:
            words = Content.styled(f"connecting to {self.tui.server} …", "$muted")
        elif live.status is Status.ENDED:
            words = Content.assemble(
                (f"{self.tui.server} does not let you in\n\n", "$muted"),
                (clean(live.error), "$faint"),
                ("\n\n", "$faint"),
                ("q", "$accent"),
                (" leaves", "$faint"),
            )
        else:
            words = Content.assemble(
                (f"cannot reach {self.tui.server}\n\n", "$muted"),
                (clean(live.error), "$faint"),
                ("\n\nit is tried again and again; ", "$faint"),
                ("q", "$accent"),
                (" leaves", "$faint"),
            )
        empty.update(words)

    @staticmethod
    def _state(session: Session) -> Cell:
        return state_words(session.state)

    def _message(self, session: Session) -> Cell:
        if session.desired is DesiredState.DELETED:
            return "being deleted", FAINT
        return self.tui.live.progress.get(session.uid) or session.message, FAINT
