"""The application: its server, what is live, and the way between pages."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.signal import Signal
from textual.widgets import Input

from netvps.client import AsyncClient
from netvps.display.text import clean
from netvps.errors import NetvpsError, Unauthenticated
from netvps_tui.connect import HandOver, Place
from netvps_tui.few_colours import of_terminal
from netvps_tui.go import Go, palette
from netvps_tui.live import Live, Status
from netvps_tui.pages.events import EventsPage
from netvps_tui.pages.images import ImagesPage
from netvps_tui.pages.network import NetworkPage
from netvps_tui.pages.people import PeoplePage
from netvps_tui.pages.runners import RunnersPage
from netvps_tui.pages.sessions import SessionsPage
from netvps_tui.theme import THEME, accessible
from netvps_tui.work import restart

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from textual.command import Provider
    from textual.events import DescendantFocus
    from textual.filter import LineFilter

    from netvps.client import Endpoint, Session
    from netvps_tui.connect import Connect
    from netvps_tui.pages.page import Page

PAGES: dict[str, type[Page]] = {
    "sessions": SessionsPage,
    "runners": RunnersPage,
    "network": NetworkPage,
    "events": EventsPage,
    "people": PeoplePage,
    "images": ImagesPage,
}


class NetvpsApp(App[HandOver]):
    """The terminal UI of one person and one server."""

    TITLE = "netvps"
    CSS_PATH = "netvps.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "colon"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {Go}
    BINDINGS: ClassVar[list[BindingType]] = [
        *[Binding(str(n), f"go({name!r})", name, show=False) for n, name in enumerate(PAGES, 1)],
        Binding("colon", "command_palette", "go to anything", key_display=":", show=False),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("y", "copy_command", "copy the command line", show=False),
        Binding("q", "back", "back"),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
    ]

    def __init__(self, endpoint: Endpoint, connect: Connect, *, read_only: bool, title: str, place: Place) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.connect = connect
        self.read_only = read_only
        self.server = title or endpoint.address
        self.place = place
        self.me = ""
        """The person's user name; '' until the server has said it."""
        self.live = Live(self._news, self._status_changed)
        self.news: Signal[set[str]] = Signal(self, "news")
        """Uids of sessions that changed."""
        self.status: Signal[None] = Signal(self, "status")
        """The connection is better or worse."""
        self._client: AsyncClient | None = None
        self._few_colours = of_terminal(self.console.color_system)
        self.register_theme(THEME)
        self.theme = THEME.name
        if accessible():
            self.animation_level = "none"

    @property
    def client(self) -> AsyncClient:
        """The connection to the server."""
        if self._client is None:
            self._client = AsyncClient(self.endpoint)
        return self._client

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Those of Textual, and one for few colours."""
        return [*super().get_line_filters(), *filter(None, [self._few_colours])]

    def on_mount(self) -> None:
        """Shows the page where the person was, and follows the server."""
        self.push_screen(SessionsPage(self.place.uid))
        if self.place.page != "sessions" and self.place.page in PAGES:
            self.push_screen(PAGES[self.place.page]())
        self.begin()

    def begin(self) -> None:
        """Connects to the server."""
        self._follow()
        self.run_worker(self._who_am_i(), name="user", exit_on_error=False)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """No cursor blinks: nothing is sent over ssh without a change."""
        if isinstance(event.widget, Input):
            event.widget.cursor_blink = False

    async def on_unmount(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            await self._client.close()

    async def _who_am_i(self) -> None:
        while not self.me:
            try:
                self.me = (await self.client.get_user()).name
            except Unauthenticated as error:
                self.live.end(error)
                return
            except NetvpsError:  # the watch has the same, and shows it
                await asyncio.sleep(5)
        self.news.publish(set(self.live.sessions))

    def _follow(self) -> None:
        restart(self, partial(self.live.run, self.client), "watch")

    def narrow(self, matching: str) -> None:
        """Has the server filter sessions, where there are too many to know all. Raises InvalidInput."""
        if self.live.narrow(matching):
            self._follow()

    def _news(self, uids: set[str]) -> None:
        self.news.publish(uids)

    def _status_changed(self) -> None:
        if self.live.status is Status.ENDED:
            self.workers.cancel_group(self, "watch")
        self.status.publish(None)

    def action_go(self, name: str) -> None:
        """Shows a page; sessions are below all others."""
        while len(self.screen_stack) > 2:  # noqa: PLR2004 — the default screen of Textual, and the sessions
            self.pop_screen()
        if name != "sessions":
            self.push_screen(PAGES[name]())

    async def action_back(self) -> None:
        """To the page before; from the sessions, out."""
        if len(self.screen_stack) > 2:  # noqa: PLR2004 — as above
            self.pop_screen()
        else:
            self.exit()

    def look_at(self, session: Session) -> None:
        """Shows a session in the list."""
        self.action_go("sessions")
        if isinstance(self.screen, SessionsPage):
            self.screen.look_at(session.uid)

    def action_command_palette(self) -> None:
        """Asks where to go."""
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(palette())

    def action_help(self) -> None:
        """Shows the keys of this page."""
        from netvps_tui.dialogs.help import HelpDialog

        self.push_screen(HelpDialog(list(self.screen.active_bindings.values())))

    def action_copy_command(self) -> None:
        """Copies the command line that the page shows, with OSC 52, so over ssh, too."""
        from netvps_tui.pages.page import Page

        if isinstance(self.screen, Page) and (line := self.screen.command_line):
            self.copy_to_clipboard(line)
            self.notify(f"copied: {line}", markup=False)

    def change(self, sessions: Sequence[Session], ask: Callable[[str], Coroutine[None, None, Session]]) -> None:
        """Asks for a change of each session, and says what was refused; the watch shows the rest."""

        async def each() -> None:
            for session in sessions:
                try:
                    self.live.answer(await ask(str(session.full_name)))
                except NetvpsError as error:
                    self.refused(error)

        self.run_worker(each(), name="change", exit_on_error=False)

    def refused(self, error: NetvpsError) -> None:
        """Shows an error for long enough to read it; one of the credential in the banner, as it stays."""
        if isinstance(error, Unauthenticated):
            self.live.end(error)
            return
        message = clean(error.message)
        self.notify(message, severity="error", timeout=max(8.0, len(message) / 12), markup=False)
