"""What a session's container wrote: followed, searched, and harmless."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Static

from netvps.display.text import LogFilter, clean
from netvps.errors import NetvpsError
from netvps_tui.commands import command_line
from netvps_tui.pages.page import Page
from netvps_tui.widgets.log_view import LINES, LONGEST, LogView

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from netvps.client import Session

_TAIL: Final = 1000
_PERIOD: Final = 0.1
"""Seconds between two redraws."""


class LogsPage(Page):
    """The log of one session."""

    tab = "sessions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "search", key_display="/"),
        Binding("n", "next(False)", "match above"),
        Binding("N", "next(True)", "match below"),
        Binding("G,end", "end", "follow"),
        Binding("escape", "clear", "back", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._view = LogView()
        self._filter = LogFilter()
        self._rest = ""
        self._fresh: deque[str] = deque(maxlen=LINES)
        self._said = ""

    def body(self) -> ComposeResult:
        """Whose log, the search, the lines."""
        yield Static(id="headline")
        yield Input(placeholder="text to look for", id="filter", classes="hidden", compact=True)
        yield self._view

    def on_mount(self) -> None:
        """Begins to read."""
        self.show_command(command_line("logs", "-f", self.called(self._session)))
        self._say("reading …")
        self._view.focus()
        self.run_worker(self._read(), name="logs", exit_on_error=False)

    def action_search(self) -> None:
        """Lets one type what to look for."""
        field = self.query_one("#filter", Input)
        field.remove_class("hidden")
        field.focus()

    def action_next(self, forward: bool) -> None:
        """The next match."""
        if self._view.search and not self._view.look_for(self._view.search, forward=forward):
            self.notify("no line has it", markup=False)

    def action_end(self) -> None:
        """To the end, which is followed."""
        self._view.scroll_end(animate=False)

    def action_clear(self) -> None:
        """Ends the search, or leads back."""
        field = self.query_one("#filter", Input)
        if field.has_class("hidden"):
            self.app.pop_screen()
            return
        field.value = ""
        field.add_class("hidden")
        self._view.look_for("")
        self._view.focus()

    @on(Input.Submitted, "#filter")
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value and not self._view.look_for(event.value):
            self.notify("no line has it", markup=False)
        self._view.focus()

    def _say(self, words: str) -> None:
        if words == self._said:
            return
        self._said = words
        name = self.called(self._session)
        self.query_one("#headline", Static).update(
            Content.assemble((f"{name}  ", "bold"), ("log  ", "$muted"), (words, "$faint"))
        )

    async def _read(self) -> None:
        timer = self.set_interval(_PERIOD, self._flush)
        try:
            async with aclosing(self.tui.client.read_logs(str(self._session.full_name), _TAIL, True)) as pieces:
                async for piece in pieces:
                    self._take(self._filter.feed(piece))
                    self._say("following")
            self._say(
                "the container wrote nothing more" if self._view.lines or self._fresh else "the container wrote nothing"
            )
        except NetvpsError as error:
            self._say(clean(error.message))
        finally:
            self._take(self._filter.feed(b"", last=True) + "\n" if self._rest else "")
            self._flush()
            timer.stop()

    def _take(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).replace("\r\n", "\n").split("\n")
        self._rest = self._rest[-LONGEST:]
        for line in lines:
            self._fresh.append(line.rpartition("\r")[2][:LONGEST])

    def _flush(self) -> None:
        if self._fresh:
            self._view.add(self._fresh)
            self._fresh.clear()
