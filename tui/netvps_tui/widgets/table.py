"""A table of any length: only the lines on the screen are made, and only those that changed are drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from netvps.display.text import clean
from netvps_tui.theme import accessible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from textual import events

T = TypeVar("T")
Cell = str | tuple[str, Style]
_GAP = 2
_MARGIN = 2
"""Cells before the first column, for the marks of the cursor and of selected rows."""
_NONE = Style()


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column: its heading, the cell of a thing, and its width in cells."""

    title: str
    cell: Callable[[T], Cell]
    width: int
    grow: int = 0
    """Its share of the width that is left over."""
    drop: int = 0
    """Where the screen is narrow, columns with the highest number go first; 0 stays."""
    right: bool = False
    """Aligned to the right, as numbers are."""


def fitted(columns: Sequence[Column[T]], width: int) -> list[tuple[Column[T], int]]:
    """The columns that fit into a width, each with its own."""
    shown = list(columns)

    def needed() -> int:
        return _MARGIN + sum(column.width + _GAP for column in shown) - _GAP

    while needed() > width and any(column.drop for column in shown):
        shown.remove(max(shown, key=lambda column: column.drop))
    spare, shares = max(0, width - needed() - 1), sum(column.grow for column in shown)
    return [(column, column.width + (spare * column.grow // shares if shares else 0)) for column in shown]


def cell_text(text: str, width: int, *, right: bool = False) -> str:
    """One line of any text, as wide as its column."""
    line = clean(text)
    if cell_len(line) > width:
        return set_cell_size(line, width - 1) + "…" if width > 1 else set_cell_size(line, width)
    padding = " " * (width - cell_len(line))
    return padding + line if right else line + padding


class RowTable(ScrollView, Generic[T], can_focus=True):
    """Rows by key, with a cursor that stays on its row wherever that moves to, and rows that are marked."""

    DEFAULT_CSS = """
    RowTable { height: 1fr; background: $background; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    RowTable > .table--heading { color: $faint; text-style: none; }
    RowTable > .table--cursor { background: $panel; }
    RowTable > .table--mark { color: $accent; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--heading", "table--cursor", "table--mark"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "end(0)", "first", show=False),
        Binding("end,G", "end(-1)", "last", show=False),
    ]

    class Moved(Message):
        """The cursor is on another row."""

    class Opened(Message):
        """A row was clicked twice."""

    def __init__(self, columns: Sequence[Column[T]], get: Callable[[str], T | None], *, id: str | None = None) -> None:  # noqa: A002 — Textual's name
        super().__init__(id=id)
        self._columns = columns
        self._get = get
        self._keys: Sequence[str] = ()
        self._index: dict[str, int] = {}
        self._fitted: list[tuple[Column[T], int]] = []
        self._drawn: dict[int, Strip] = {}
        """What each line of the screen read when it was drawn last."""
        self.cursor: str | None = None
        """The key of the row that the cursor is on; None in an empty table."""
        self.marked: set[str] = set()

    @property
    def keys(self) -> Sequence[str]:
        """The keys of the rows, in order."""
        return self._keys

    def show(self, keys: Sequence[str], changed: Collection[str] | None = None) -> None:
        """Shows these rows; only the `changed` ones are drawn again if order and number are as before."""
        if keys == self._keys and changed is not None:
            for key in changed:
                if key in self._index:
                    self._refresh_row(self._index[key])
            return
        before = self._index.get(self.cursor or "", 0)
        self._keys, self._index = keys, {key: index for index, key in enumerate(keys)}
        self.marked &= self._index.keys()
        if self.cursor not in self._index:
            self.cursor = keys[min(before, len(keys) - 1)] if keys else None
            self.post_message(self.Moved())
        self.virtual_size = Size(self.size.width, len(keys) + 1)
        moved = self._index.get(self.cursor or "", 0) - before
        if moved and self.scroll_offset.y:
            self.scroll_to(y=self.scroll_offset.y + moved, animate=False, immediate=True)
        self.refresh()

    def move_to(self, key: str) -> bool:
        """Puts the cursor on a row, and scrolls to it; whether the row is there."""
        if key not in self._index:
            return False
        old, self.cursor = self._index.get(self.cursor or ""), key
        if old is not None:
            self._refresh_row(old)
        self._refresh_row(self._index[key])
        self._reveal(self._index[key])
        self.post_message(self.Moved())
        return True

    def toggle(self) -> None:
        """Marks the row under the cursor, or removes its mark, and goes on to the next."""
        if self.cursor is not None:
            self.marked ^= {self.cursor}
            self._refresh_row(self._index[self.cursor])
            self.action_move(1)

    def clear_marks(self) -> None:
        """Removes all marks."""
        self.marked.clear()
        self.refresh()

    def action_move(self, by: int) -> None:
        """Moves the cursor by so many rows."""
        if self._keys:
            index = self._index.get(self.cursor or "", 0)
            self.move_to(self._keys[max(0, min(len(self._keys) - 1, index + by))])

    def action_page(self, by: int) -> None:
        """Moves the cursor by a screen."""
        self.action_move(by * max(1, self.size.height - 2))

    def action_end(self, index: int) -> None:
        """Moves the cursor to the first or the last row."""
        if self._keys:
            self.move_to(self._keys[index])

    def on_resize(self, event: events.Resize) -> None:
        """Fits the columns again."""
        self._fitted = fitted(self._columns, event.size.width)
        self.virtual_size = Size(event.size.width, len(self._keys) + 1)
        if self.cursor is not None:
            self._reveal(self._index[self.cursor])

    def on_click(self, event: events.Click) -> None:
        """Puts the cursor on the row; a double click opens it."""
        index = event.y + self.scroll_offset.y - 1
        if event.y and 0 <= index < len(self._keys):
            self.move_to(self._keys[index])
            if event.chain > 1:
                self.post_message(self.Opened())

    def refresh_changed(self) -> None:
        """Draws those lines again that read differently by now: whatever is drawn again is sent to the terminal."""
        for y in range(self.size.height):
            if self._drawn.get(y) != self._line(y):
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """One line of the screen: the heading, which stays, or a row."""
        line = self._drawn[y] = self._line(y)
        return line

    def _line(self, y: int) -> Strip:
        width = self.container_size.width or self.size.width
        if y == 0:
            heading = self.get_component_rich_style("table--heading")
            return self._strip([(column.title, heading) for column, _ in self._fitted], "  ", heading, width)
        index = y - 1 + self.scroll_offset.y
        if index >= len(self._keys):
            return Strip.blank(width, self.rich_style)
        key = self._keys[index]
        row = self._get(key)
        if row is None:  # it went, and the next `show` takes it out
            return Strip.blank(width, self.rich_style)
        current = key == self.cursor
        style = self.get_component_rich_style("table--cursor") if current else self.rich_style
        values = [column.cell(row) for column, _ in self._fitted]
        cells = [value if isinstance(value, tuple) else (value, _NONE) for value in values]
        return self._strip(cells, self._mark(key, current=current), style, width)

    def _mark(self, key: str, *, current: bool) -> str:
        if key in self.marked:
            return "+ " if accessible() else "✓ "
        if current:
            return "> " if accessible() else "▌ "
        return "  "

    def _strip(self, cells: Sequence[tuple[str, Style]], mark: str, style: Style, width: int) -> Strip:
        mark_style = self.get_component_rich_style("table--mark", partial=True)
        segments = [Segment(mark, style + mark_style)]
        for (column, cells_wide), (text, own) in zip(self._fitted, cells, strict=True):
            segments += (
                Segment(cell_text(text, cells_wide, right=column.right), style + own),
                Segment(" " * _GAP, style),
            )
        return Strip(segments).adjust_cell_length(width, style)

    def _refresh_row(self, index: int) -> None:
        y = index - self.scroll_offset.y + 1
        if 0 < y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _reveal(self, index: int) -> None:
        top, rows = self.scroll_offset.y, max(1, self.size.height - 1)
        if index < top:
            self.scroll_to(y=index, animate=False, immediate=True)
        elif index >= top + rows:
            self.scroll_to(y=index - rows + 1, animate=False, immediate=True)
