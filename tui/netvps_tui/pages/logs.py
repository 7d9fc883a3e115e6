"""What a session's container wrote: followed, searched, and harmless."""

from __future__ import annotations

import re
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Static

from netvps.display.text import LogFilter
from netvps.errors import NetvpsError
from netvps_tui.commands import command_line
from netvps_tui.pages.page import Page

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from netvps.client import Session

_LINES: Final = 10_000
_TAIL: Final = 1000
_LONGEST: Final = 4096
"""Characters of a line that are shown."""
_PERIOD: Final = 0.1
_MATCH: Final = Style(reverse=True)


class LogView(ScrollView, can_focus=True):
    """Lines, of which those on the screen are drawn. It stays at the end unless it is scrolled up."""

    def __init__(self) -> None:
        super().__init__(id="log")
        self.lines: deque[Text] = deque(maxlen=_LINES)
        self.search = ""

    def add(self, lines: list[Text]) -> None:
        """Appends lines."""
        at_end = self.is_vertical_scroll_end
        self.lines.extend(lines)
        longest = max((line.cell_len for line in lines), default=0)
        self.virtual_size = Size(max(self.virtual_size.width, longest), len(self.lines))
        if at_end:
            self.scroll_end(animate=False, immediate=True)
        self.refresh()

    def look_for(self, text: str, *, forward: bool = False) -> bool:
        """Scrolls to the nearest match above, or below; whether there is one."""
        self.search = text
        self.refresh()
        here = self.scroll_offset.y
        found = [index for index, line in enumerate(self.lines) if text and text.lower() in line.plain.lower()]
        beyond = [index for index in found if index > here] if forward else [index for index in found if index < here]
        if not beyond:
            return bool(found)
        self.scroll_to(y=beyond[0] if forward else beyond[-1], animate=False)
        return True

    def render_line(self, y: int) -> Strip:
        """One line."""
        left, top = self.scroll_offset
        if top + y >= len(self.lines):
            return Strip.blank(self.size.width, self.rich_style)
        line = self.lines[top + y].copy()
        if self.search:
            line.highlight_regex(re.compile(re.escape(self.search), re.IGNORECASE), style=_MATCH)
        segments = [
            Segment(text, self.rich_style + (style or Style())) for text, style, _ in line.render(self.app.console)
        ]
        return Strip(segments).crop_extend(left, left + self.size.width, self.rich_style)


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
        self._fresh: list[Text] = []

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
            self._say(error.message)
        finally:
            self._take(self._filter.feed(b"", last=True) + "\n" if self._rest else "")
            self._flush()
            timer.stop()

    def _take(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).replace("\r\n", "\n").split("\n")
        self._rest = self._rest[-_LONGEST:]
        for line in lines:
            shown = line.rpartition("\r")[2][:_LONGEST].expandtabs(8)
            self._fresh.append(Text.from_ansi(shown))

    def _flush(self) -> None:
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self._view.add(fresh)
