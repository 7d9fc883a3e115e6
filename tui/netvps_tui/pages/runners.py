"""The machines that sessions run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.content import Content
from textual.widgets import Static

from netvps.client import RunnerState
from netvps.display.text import clean
from netvps.display.units import age, minute_words, size_words
from netvps_tui.commands import command_line
from netvps_tui.pages.lists import ReadPage
from netvps_tui.theme import MUTED, STRONG, state_words
from netvps_tui.widgets.table import Column, RowTable

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from netvps.client import RunnerView
    from netvps_tui.widgets.table import Cell


def seen(view: RunnerView) -> str:
    """When it was heard of last; nothing while it is connected."""
    return "" if view.runner.state is RunnerState.ONLINE else f"{age(view.runner.last_seen)} ago"


def problems(view: RunnerView) -> list[str]:
    """What is wrong with it."""
    runner = view.runner
    found = [runner.engine_problem, runner.isolation_problem, *(problem.message for problem in runner.problems)]
    return [clean(problem) for problem in found if problem]


class RunnersPage(ReadPage):
    """Runners above, all about the one under the cursor below."""

    tab = "runners"

    def __init__(self) -> None:
        super().__init__()
        self._views: dict[str, RunnerView] = {}
        columns: list[Column[RunnerView]] = [
            Column("NAME", lambda view: (view.runner.name, STRONG), 16, grow=2),
            Column("STATE", self._state, 11),
            Column("SESSIONS", lambda view: str(view.session_count), 8, right=True),
            Column("CPUS", lambda view: str(view.runner.capacity.cpus), 5, right=True, drop=1),
            Column("MEMORY", lambda view: size_words(view.runner.capacity.memory_bytes), 7, right=True, drop=2),
            Column("DISK FREE", lambda view: size_words(view.runner.capacity.disk_free_bytes), 9, right=True, drop=3),
            Column("SUBNET", lambda view: (view.lease.cidr, MUTED), 16, drop=5),
            Column("VERSION", lambda view: (view.runner.version, MUTED), 9, drop=6),
            Column("", lambda view: ("; ".join(problems(view)) or seen(view), MUTED), 14, grow=4, drop=4),
        ]
        self.table: RowTable[RunnerView] = RowTable(columns, self._views.get, id="table")

    def body(self) -> ComposeResult:
        """The table, and details."""
        yield Static(id="summary")
        yield self.table
        yield Static(id="empty", classes="hidden")
        with Static(id="about", classes="box") as about:
            about.border_title = "Runner"

    def on_mount(self) -> None:
        """The table has the focus."""
        self.table.focus()

    async def read(self) -> None:
        """Reads all runners."""
        views = {view.runner.uid: view async for view in self.tui.client.list_runners()}
        self._views.clear()
        self._views.update(views)
        self.table.show(list(self._views))
        online = sum(view.runner.state is RunnerState.ONLINE for view in self._views.values())
        total = len(self._views)
        sessions = sum(view.session_count for view in self._views.values())
        words = f"{total} runner{'' if total == 1 else 's'}   {online} online   {sessions:,} sessions"
        self.query_one("#summary", Static).update(Content.styled(words, "$muted"))
        empty = self.query_one("#empty", Static)
        empty.set_class(bool(total), "hidden")
        self.table.set_class(not total, "hidden")
        empty.update(
            Content.assemble(
                ("no runners yet\n\n", "$muted"),
                ("netvps runner join-token", "$accent"),
                (" makes a token with which a machine joins", "$faint"),
            )
        )
        self._show()

    @on(RowTable.Moved)
    def _show(self) -> None:
        view = self._views.get(self.table.cursor or "")
        about = self.query_one("#about", Static)
        about.set_class(view is None, "hidden")
        if view is None:
            return
        runner = view.runner
        self.show_command(command_line("runner", "show", runner.name))
        facts = [
            ("engine", runner.capacity.engine_version),
            ("subnet", view.lease.cidr),
            (
                "underlay",
                f"{', '.join(runner.underlay.addresses)}  MTU {runner.underlay.mtu}"
                if runner.underlay
                else "none: no overlay",
            ),
            ("version", runner.version),
            ("joined", minute_words(runner.create_time)),
            ("seen", minute_words(runner.last_seen)),
            *[("problem", problem) for problem in problems(view)],
        ]
        lines = [
            Content.assemble(
                (name.ljust(10), "$faint"), (clean(value), "$error" if name == "problem" else "$foreground")
            )
            for name, value in facts
            if value
        ]
        about.update(Content("\n").join(lines))

    @staticmethod
    def _state(view: RunnerView) -> Cell:
        return state_words(view.runner.state)
