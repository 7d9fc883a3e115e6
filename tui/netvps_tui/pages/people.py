"""People with their roles, and the keys of the one under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.content import Content
from textual.widgets import Static

from netvps.display.text import clean
from netvps.display.units import age, moment_words
from netvps.errors import NotPermitted
from netvps_tui.commands import command_line
from netvps_tui.pages.lists import ReadPage
from netvps_tui.theme import MUTED, STRONG
from netvps_tui.widgets.table import Column, RowTable
from netvps_tui.work import restart

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from netvps.client import ApiKey, SshKey, User


class PeoplePage(ReadPage):
    """Admins see all; others see themselves."""

    tab = "people"

    def __init__(self) -> None:
        super().__init__()
        self._users: dict[str, User] = {}
        columns: list[Column[User]] = [
            Column("NAME", lambda user: (user.name, STRONG), 24),
            Column("ROLE", lambda user: user.role.lower(), 10),
            Column("SESSIONS", self._count, 9, right=True),
            Column("SINCE", lambda user: (moment_words(user.create_time)[:10], MUTED), 12),
        ]
        self.table: RowTable[User] = RowTable(columns, self._users.get, id="table")

    def body(self) -> ComposeResult:
        """The table, and keys."""
        yield Static(id="summary")
        yield self.table
        with Static(id="about", classes="box") as about:
            about.border_title = "Keys"

    def on_mount(self) -> None:
        """The table has the focus."""
        self.table.focus()

    async def read(self) -> None:
        """Reads people; their keys are read when the cursor is on them."""
        try:
            users = [user async for user in self.tui.client.list_users()]
        except NotPermitted:
            users = [await self.tui.client.get_user()]
        self._users.clear()
        self._users.update({user.name: user for user in users})
        self.table.show(list(self._users))
        total = len(users)
        self.query_one("#summary", Static).update(
            Content.styled(f"{total} {'person' if total == 1 else 'people'}", "$muted")
        )
        self._moved()

    @on(RowTable.Moved)
    def _moved(self) -> None:
        if user := self._users.get(self.table.cursor or ""):
            mine = user.name == self.tui.me
            self.show_command(command_line("key", "ls") if mine else command_line("user", "ls"))
            restart(self, self._read_keys, "keys")

    async def _read_keys(self) -> None:
        name = self.table.cursor or ""
        try:
            ssh = [key async for key in self.tui.client.list_ssh_keys(name)]
            api = [key async for key in self.tui.client.list_api_keys(name)]
        except NotPermitted:
            return
        lines = [*map(self._ssh_line, ssh), *map(self._api_line, api)]
        nothing = Content.assemble(("no keys; ", "$faint"), ("netvps key add", "$muted"), (" registers one", "$faint"))
        about = self.query_one("#about", Static)
        about.border_title = f"Keys of {name}"
        about.update(Content("\n").join(lines) if lines else nothing)

    def _count(self, user: User) -> str:
        return f"{sum(session.owner == user.name for session in self.tui.live.sessions.values()):,}"

    @staticmethod
    def _ssh_line(key: SshKey) -> Content:
        return Content.assemble(
            ("ssh  ", "$faint"),
            (key.fingerprint, "$foreground"),
            (f"  {clean(key.title)}  {age(key.create_time)}", "$muted"),
        )

    @staticmethod
    def _api_line(key: ApiKey) -> Content:
        used = f"used {age(key.last_use_time)} ago" if key.last_use_time else "never used"
        ends = f"until {moment_words(key.expire_time)[:10]}" if key.expire_time else "without end"
        return Content.assemble(
            ("api  ", "$faint"), (key.kid, "$foreground"), (f"  {clean(key.title)}  {used}, {ends}", "$muted")
        )
