"""The images on runners that sessions are made from, and which is the default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.content import Content
from textual.widgets import Static

from netvps.display.units import age, size_words
from netvps_tui.commands import command_line
from netvps_tui.pages.lists import ReadPage
from netvps_tui.pages.page import whole_parts
from netvps_tui.theme import MUTED, STRONG
from netvps_tui.widgets.table import Column, RowTable

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from netvps.client import ImageView


class ImagesPage(ReadPage):
    """One row for each image of each runner; read when the page opens and with ctrl+r."""

    tab = "images"

    def __init__(self) -> None:
        super().__init__()
        self._images: dict[str, ImageView] = {}
        columns: list[Column[ImageView]] = [
            Column("IMAGE", lambda image: (image.reference, STRONG), 22, grow=3),
            Column("RUNNER", lambda image: image.runner, 12, grow=1),
            Column("SIZE", lambda image: size_words(image.size_bytes), 7, right=True),
            Column("SESSIONS", lambda image: str(image.session_count), 8, right=True),
            Column("", lambda image: "default" if image.is_default else "", 7),
            Column("ARCH", lambda image: (image.architecture, MUTED), 6, drop=2),
            Column("AGE", lambda image: (age(image.create_time), MUTED), 4, right=True, drop=1),
        ]
        self.table: RowTable[ImageView] = RowTable(columns, self._images.get, id="table")

    def body(self) -> ComposeResult:
        """Summary, and the table."""
        yield Static("asking the runners …", id="summary")
        yield self.table
        yield Static(id="empty", classes="hidden")

    def on_mount(self) -> None:
        """The table has the focus."""
        self.show_command("netvps env ls")
        self.table.focus()

    async def read(self) -> None:
        """Asks all runners."""
        silent: list[str] = []
        listed = [image async for image in self.tui.client.list_images(unreachable=silent.append)]
        self._images.clear()
        self._images.update({f"{image.reference} {image.runner}": image for image in listed})
        self.table.show(sorted(self._images), ())
        self._show_summary(silent)
        self.table.set_class(not listed, "hidden")
        empty = self.query_one("#empty", Static)
        empty.set_class(bool(listed), "hidden")
        words = (
            ("no runner has an image yet\n\n", "$muted"),
            ("netvps env pull IMAGE", "$accent"),
            (" gets one", "$faint"),
        )
        empty.update(Content.assemble(*words))

    def _show_summary(self, silent: list[str]) -> None:
        images = self._images.values()
        count, runners = len({image.reference for image in images}), len({image.runner for image in images})
        parts = [
            f"{count} image{'' if count == 1 else 's'}",
            f"on {runners} runner{'' if runners == 1 else 's'}",
            size_words(sum(image.size_bytes for image in images)),
        ]
        shown = [Content.styled(part, "$muted") for part in parts]
        if silent:
            shown.insert(0, Content.styled(f"not asked, as unreachable: {', '.join(sorted(silent))}", "$warning"))
        self.query_one("#summary", Static).update(whole_parts(shown, self.size.width - 4))

    @on(RowTable.Moved)
    def _moved(self) -> None:
        image = self._images.get(self.table.cursor or "")
        words = ("env", "pull", image.reference, "--runner", image.runner) if image else ("env", "ls")
        self.show_command(command_line(*words))
