"""What all pages have: where one is, how old the data is, the command line of what is shown, and the keys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static

from netvps.display.text import clean
from netvps.display.units import duration_words
from netvps_tui.commands import called
from netvps_tui.live import Status
from netvps_tui.widgets.too_small import COLUMNS, ROWS, TOO_SMALL, TooSmall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.timer import Timer

    from netvps.client import Session
    from netvps_tui.app import NetvpsApp

_TABS = ("sessions", "runners", "network", "events", "people", "images")


def whole_parts(parts: Sequence[Content], width: int) -> Content:
    """As many of the first parts as fit into a line of this width; whole, as half a number is a wrong one."""
    shown = list(parts)
    while len(shown) > 1 and Content("   ").join(shown).cell_length > width:
        shown.pop()
    return Content("   ").join(shown)


class Page(Screen[None]):
    """A page; subclasses yield their body and set `tab`."""

    tab: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.back", "back", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self.command_line = ""
        """What `y` copies."""
        self._clock: Timer | None = None

    @property
    def tui(self) -> NetvpsApp:
        """The application."""
        return cast("NetvpsApp", self.app)

    def compose(self) -> ComposeResult:
        """Top line, banner, body, command line, keys; or only that the terminal is too small."""
        yield TooSmall()
        yield Static(id="top")
        yield Static(id="banner", classes="hidden")
        yield from self.body()
        yield Static(id="command")
        yield Footer(show_command_palette=False, compact=True)

    def body(self) -> ComposeResult:
        """What is special about the page."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Shows where one is, and listens for the state of the connection."""
        self.tui.status.subscribe(self, lambda _: self._show_status())
        self._show_top()
        self._show_status()

    def on_resize(self) -> None:
        """The top line depends on the width."""
        self.set_class(self.size.width < COLUMNS or self.size.height < ROWS, TOO_SMALL)
        self._show_top()

    def _show_top(self) -> None:
        tabs = [
            Content.styled(f" {number} {name.title()} ", "bold $accent reverse")
            if name == self.tab
            else Content.from_markup(f"[@click=app.go('{name}')] {number} {name.title()} [/]").stylize("$muted")
            for number, name in enumerate(_TABS, 1)
        ]
        where = f"{self.tui.me}@{self.tui.server}" if self.tui.me else self.tui.server
        where += "  read-only" if self.tui.read_only else ""
        left = Content.assemble(("netvps ", "bold"), *tabs)
        if left.cell_length + len(where) + 3 > self.size.width:
            left = Content.assemble(*tabs)  # where one is says more
        room = max(0, self.size.width - left.cell_length - 3)
        right = Content.styled(where if len(where) <= room else where[: max(0, room - 1)] + "…" * bool(room), "$faint")
        gap = " " * max(1, self.size.width - left.cell_length - right.cell_length - 2)
        self.query_one("#top", Static).update(Content.assemble(left, gap, right))

    def _show_status(self) -> None:
        live = self.tui.live
        banner = self.query_one("#banner", Static)
        broken = live.status in {Status.AWAY, Status.REFUSED, Status.ENDED}
        banner.set_class(not broken, "hidden")
        if not broken:
            if self._clock is not None:
                self._clock.stop()
                self._clock = None
            return
        if self._clock is None:
            self._clock = self.set_interval(1, self._show_status)
        seconds = duration_words(max(1, round(time.monotonic() - live.heard)))
        old = f"what you see is {seconds} old: " if live.complete else ""
        ended = "; q leaves" if live.status is Status.ENDED else ""
        banner.update(Content(f"! {old}{clean(live.error)}{ended}"))

    def show_command(self, line: str) -> None:
        """Shows the command line that does the same."""
        if line != self.command_line:
            self.command_line = line
            shown = (
                Content.assemble(("$ ", "$faint"), (line, "$muted"), ("   y copies", "$faint")) if line else Content("")
            )
            self.query_one("#command", Static).update(shown)

    def called(self, session: Session) -> str:
        """The name to type for a session."""
        return called(session, self.tui.me)
