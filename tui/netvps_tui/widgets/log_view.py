"""Lines of a log: bounded in number and size, and made into text only where they are on the screen."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Iterable

LINES: Final = 10_000
CHARACTERS: Final = 8 << 20
"""Of all lines; the oldest go first."""
LONGEST: Final = 4096
"""Characters of a line that are kept."""
_MATCH: Final = Style(reverse=True)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")


class LogView(ScrollView, can_focus=True):
    """It stays at the end unless it is scrolled up; scrolled up, the same lines stay on the screen."""

    def __init__(self) -> None:
        super().__init__(id="log")
        self.lines: deque[str] = deque()
        """With their colours as escape codes (netvps.display.text.LogFilter)."""
        self.search = ""
        self._characters = 0

    def add(self, lines: Iterable[str]) -> None:
        """Appends lines."""
        at_end, longest = self.is_vertical_scroll_end, self.virtual_size.width
        for line in lines:
            kept = line[:LONGEST]
            self.lines.append(kept)
            self._characters += len(kept)
            longest = max(longest, len(kept))
        gone = 0
        while len(self.lines) > LINES or self._characters > CHARACTERS:
            self._characters -= len(self.lines.popleft())
            gone += 1
        self.virtual_size = Size(longest, len(self.lines))
        if at_end:
            self.scroll_end(animate=False, immediate=True, force=True)  # the scroll bar may come only now
        elif gone:
            self.scroll_to(y=max(0, self.scroll_offset.y - gone), animate=False, immediate=True, force=True)
        self.refresh()

    def look_for(self, text: str, *, forward: bool = False) -> bool:
        """Scrolls to the nearest match above, or below; whether there is one."""
        self.search = text
        self.refresh()
        here, wanted = self.scroll_offset.y, text.lower()
        found = [index for index, line in enumerate(self.lines) if wanted and wanted in _COLOUR.sub("", line).lower()]
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
        line = Text.from_ansi(self.lines[top + y].expandtabs(8))
        if self.search:
            line.highlight_regex(re.compile(re.escape(self.search), re.IGNORECASE), style=_MATCH)
        segments = [
            Segment(text, self.rich_style + (style or Style())) for text, style, _ in line.render(self.app.console)
        ]
        return Strip(segments).crop_extend(left, left + self.size.width, self.rich_style)
