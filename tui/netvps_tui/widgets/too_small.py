"""What a terminal shows that is too small for a page: its size, and the size that it needs."""

from __future__ import annotations

from typing import Final

from textual.content import Content
from textual.widgets import Static

COLUMNS: Final = 40
ROWS: Final = 12
TOO_SMALL: Final = "too-small"
"""The class of a screen whose terminal is."""


class TooSmall(Static):
    """The only visible part of such a screen."""

    def on_resize(self) -> None:
        """Says how large the terminal is."""
        self._say()

    def on_show(self) -> None:
        """As above."""
        self._say()

    def _say(self) -> None:
        size = self.app.size
        words = f"This terminal is {size.width} x {size.height}: make it {COLUMNS} x {ROWS} or larger; "
        self.update(Content.assemble((words, "$foreground"), ("q", "$accent"), (" leaves", "$muted")))
