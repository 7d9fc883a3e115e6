"""The network map: who reaches whom, how fast, and with which packets."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from textual import on
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from netvps.display.palette import RGB, look
from netvps.display.text import clean
from netvps_tui.pages.lists import ReadPage
from netvps_tui.pages.page import whole_parts
from netvps_tui.theme import MUTED, STRONG, glyph, state_words
from netvps_tui.widgets.table import Column, RowTable, cell_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from netvps.domain.overlay.path import Path
    from netvps.domain.overlay.settings import Overview

_NAME: Final = 12
_CELL: Final = 10


def rtt_words(path: Path) -> str:
    """The round trip: 0.42 ms; nothing where it was not measured."""
    return "" if path.rtt is None else f"{path.rtt * 1000:.2f} ms" if path.rtt < 0.01 else f"{path.rtt * 1000:.0f} ms"  # noqa: PLR2004


def matrix(paths: Sequence[Path]) -> Content:
    """Runners by runners: from the row to the column."""
    names = sorted({path.start for path in paths} | {path.end for path in paths})
    known = {(path.start, path.end): path for path in paths}
    head = Content.styled(" " * (_NAME + 2) + "".join(cell_text(name, _CELL) + "  " for name in names), "$faint")
    lines = [head]
    for origin in names:
        line = [Content.styled(cell_text(origin, _NAME) + "  ", "bold")]
        for goal in names:
            path = known.get((origin, goal))
            if path is None:
                line.append(Content.styled(cell_text("·" if origin == goal else "", _CELL) + "  ", "$faint"))
                continue
            shown = look(path.state)
            line.append(
                Content.styled(
                    cell_text(f"{glyph(shown)} {rtt_words(path) or path.state.lower()}", _CELL) + "  ", RGB[shown.tone]
                )
            )
        lines.append(Content("").join(line))
    return Content("\n").join(lines)


class NetworkPage(ReadPage):
    """Summary, matrix, and every link in a table. Measured when the page opens and with ctrl+r."""

    tab = "network"

    def __init__(self) -> None:
        super().__init__()
        self._paths: dict[str, Path] = {}
        columns: list[Column[Path]] = [
            Column("FROM", lambda path: (path.start, STRONG), 14),
            Column("TO", lambda path: (path.end, STRONG), 14),
            Column("STATE", lambda path: state_words(path.state), 10),
            Column("RTT", rtt_words, 9, right=True),
            Column("MTU", self._mtu, 11, right=True, drop=1),
            Column("BETWEEN", lambda path: (f"{path.start_address} → {path.end_address}", MUTED), 26, drop=3),
            Column("", lambda path: (path.message, MUTED), 12, grow=6, drop=2),
        ]
        self.table: RowTable[Path] = RowTable(columns, self._paths.get, id="table")

    def body(self) -> ComposeResult:
        """Summary, map, links."""
        yield Static(id="summary")
        with Vertical(id="map-box", classes="box") as box:
            box.border_title = "Map"
            with VerticalScroll():
                yield Static(id="map")
        yield self.table

    def on_mount(self) -> None:
        """The table has the focus."""
        self.show_command("netvps network peers")
        self.table.focus()

    async def read(self) -> None:
        """Reads the summary, then measures the links, which takes seconds."""
        overview: Overview = await self.tui.client.get_network()
        self._show_summary(overview, "measuring links …")
        self._paths.clear()
        self.table.show([])
        self._show_map("measuring …")
        async with aclosing(self.tui.client.probe_links()) as paths:
            async for path in paths:
                self._paths[f"{path.start}>{path.end}"] = path
                self._show_map("")
        self._show_map(
            "one runner has no links: they appear with the second"
            if overview.runners_on
            else "no runner is on the overlay"
        )
        self._show_summary(overview, "")

    def _show_summary(self, overview: Overview, doing: str) -> None:
        overlay_settings = overview.overlay_settings
        facts = [
            f"{overview.runners_on} of {overview.runners_on + overview.runners_off} runners",
            f"{overview.sessions:,} sessions",
            f"{overview.subnets_used:,} subnets used, {overview.subnets_free:,} free",
            f"{overlay_settings.pool} in /{overview.prefix}s",
        ]
        parts = [Content.styled(fact, "$muted") for fact in facts]
        parts += [Content.styled(doing, "$accent")] if doing else []
        self.query_one("#summary", Static).update(whole_parts(parts, self.size.width - 4))
        self.query_one("#map-box").border_title = f"Map · VNI {overlay_settings.vni} · UDP {overlay_settings.port}"

    def _show_map(self, empty: str) -> None:
        paths = sorted(self._paths.values(), key=lambda path: (path.start, path.end))
        shown = matrix(paths) if paths else Content.styled(empty, "$faint")
        self.query_one("#map", Static).update(shown)
        self.table.show([f"{path.start}>{path.end}" for path in paths])

    @on(RowTable.Moved)
    def _moved(self) -> None:
        path = self._paths.get(self.table.cursor or "")
        self.show_command("netvps network peers" + (f" {clean(path.start)}" if path else ""))

    @staticmethod
    def _mtu(path: Path) -> str:
        if not path.mtu:
            return ""
        return str(path.mtu) if path.mtu >= path.expected_mtu else f"{path.mtu} < {path.expected_mtu}"
