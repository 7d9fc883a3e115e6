"""Pages of things that the server has no watch for: read when the page opens, and again with ctrl+r."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType

from netvps.errors import NetvpsError
from netvps_tui.pages.page import Page
from netvps_tui.work import restart

if TYPE_CHECKING:
    from collections.abc import Coroutine


class ReadPage(Page):
    """A page that reads its data; subclasses implement `read`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+r", "read", "read again")]

    def on_mount(self) -> None:
        """Reads for the first time."""
        self.action_read()

    def read(self) -> Coroutine[Any, Any, None]:
        """Reads and shows everything."""
        raise NotImplementedError

    def action_read(self) -> None:
        """Reads again."""
        restart(self, self._read, "read")

    async def _read(self) -> None:
        try:
            await self.read()
        except NetvpsError as error:
            self.tui.refused(error)
