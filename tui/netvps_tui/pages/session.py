"""All about one session, live: facts, what happened, and what is being done."""

from __future__ import annotations

import asyncio
import textwrap
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from netvps.client import EventType, SessionEvent
from netvps.display.palette import RGB, look
from netvps.display.text import clean
from netvps.display.units import age, duration_words, minute_words, size_words
from netvps.errors import NetvpsError, Unauthenticated
from netvps_tui.commands import command_line
from netvps_tui.pages.actions import SessionActions
from netvps_tui.theme import glyph
from netvps_tui.widgets.spark import Series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from netvps.client import Session
    from netvps.domain.metrics import Measurement
    from netvps.domain.sleep.idle import SleepPlan

_EVENTS = 200
_AGAIN = 3.0
"""Seconds after a break."""
_PLAN_AGAIN = 30.0
"""Seconds between two questions when it sleeps."""


def event_line(event: SessionEvent, width: int) -> Content:
    """When, the state, and why, of a change; why is below, and indented, where it does not fit beside."""
    session = event.session
    if session is None:
        return Content("")
    state = "DELETED" if event.type is EventType.DELETED else str(session.state)
    shown = look(state)
    when = session.update_time.astimezone()
    line = Content.assemble(
        (f"{when:%m-%d %H:%M:%S}  ", "$faint"), (f"{glyph(shown)} {state.ljust(12)}", RGB[shown.tone])
    )
    message = clean(session.message)
    if line.cell_length + cell_len(message) > width:
        message = "".join(f"\n  {part}" for part in textwrap.wrap(message, max(10, width - 2)))
    return Content.assemble(line, (message, "$muted"))


class SessionPage(SessionActions):
    """One session."""

    tab = "sessions"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.back", "back", show=False)]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._history: list[SessionEvent] = []
        self._plan: SleepPlan | None = None
        self._cpus = Series("cpu", lambda value: f"{value:.2f}")
        self._memory = Series("memory", lambda value: size_words(int(value)))
        self._received = Series("received", lambda value: f"{size_words(int(value))}/s")
        self._sent = Series("sent", lambda value: f"{size_words(int(value))}/s")

    def body(self) -> ComposeResult:
        """State above, facts on the left, events on the right."""
        yield Static(id="headline")
        with Horizontal(id="detail"):
            with VerticalScroll(id="facts-box", classes="box") as box:
                box.border_title = "Session"
                yield Static(id="facts")
            with Vertical(id="right"):
                with Vertical(id="usage-box", classes="box") as usage:
                    usage.border_title = "Usage"
                    yield Static(id="usage")
                with Vertical(id="events-box", classes="box") as events:
                    events.border_title = "Events"
                    with VerticalScroll():
                        yield Static(id="events")

    def on_mount(self) -> None:
        """Shows it, and reads its history from the server's log."""
        self.tui.news.subscribe(self, self._news)
        self.show_command(command_line("ssh", self.called(self._session)))
        self._show()
        self.run_worker(self._measure(), name="usage", exit_on_error=False)
        self.run_worker(self._read_history(), name="history", exit_on_error=False)
        self.run_worker(self._read_plan(), name="sleep", exit_on_error=False)
        self.set_interval(5, self._show)

    def target(self) -> Session | None:
        """The session; None once it is gone."""
        return self.tui.live.sessions.get(self._session.uid)

    @property
    def _gone(self) -> bool:
        return self.tui.live.complete and self._session.uid not in self.tui.live.sessions

    def _news(self, uids: set[str]) -> None:
        if self._session.uid not in uids:
            return
        now = self.tui.live.sessions.get(self._session.uid)
        if now is not None and now.revision > self._session.revision:
            self._history.append(SessionEvent(EventType.PUT, now, now.revision))
        self._session = now or self._session
        self._show()

    async def _measure(self) -> None:
        """Follows what it uses, which is measured for as long as it is read."""
        while True:
            try:
                name = str(self._session.full_name)
                async with aclosing(self.tui.client.watch_metrics(sessions=[name])) as samples:
                    async for batch in samples:
                        self.show_measured([sample.measured for sample in batch])
            except Unauthenticated as error:
                self.tui.refused(error)
                return
            except NetvpsError:  # it does not run, or its runner is away
                if self._gone:
                    return
            self._show_usage()
            await asyncio.sleep(_AGAIN)

    def show_measured(self, measurements: Sequence[Measurement]) -> None:
        """Adds what was measured in one more second."""
        for measured in measurements:
            self._cpus.add(measured.cpus)
            self._memory.add(measured.memory_bytes)
            if measured.received_rate is not None and measured.sent_rate is not None:
                self._received.add(measured.received_rate)
                self._sent.add(measured.sent_rate)
        if measurements:
            self._show_usage()

    def _show_usage(self) -> None:
        shown, spec = self.query_one("#usage", Static), self._session.spec
        width = max(10, min(60, shown.size.width - 22))
        lines = [
            self._cpus.line(width, spec.cpus),
            self._memory.line(width, spec.memory_bytes),
            self._received.line(width),
            self._sent.line(width),
        ]
        shown.update(Content("\n").join(lines))

    async def _read_plan(self) -> None:
        """Asks when it is paused and stopped, again and again: its activity changes that."""
        while not self._gone:
            try:
                self._plan = await self.tui.client.sleep_plan(str(self._session.full_name))
                self._show()
            except Unauthenticated as error:
                self.tui.refused(error)
                return
            except NetvpsError:  # a break, or a server of an earlier version
                self._plan = None
            await asyncio.sleep(_PLAN_AGAIN)

    async def _read_history(self) -> None:
        session = self._session
        with suppress(NetvpsError):  # the log may not go that far back; then the history begins now
            async with aclosing(self.tui.client.watch_sessions(session.owner, 1, timeout=20)) as events:
                async for event in events:
                    if event.session is None:
                        break
                    if event.session.uid == session.uid and event.type is not EventType.PROGRESS:
                        self._history.append(event)
        self._history.sort(key=lambda event: event.revision)
        self._show()

    def _show(self) -> None:
        session = self._session
        state = "DELETED" if self._gone else str(session.state)
        shown = look(state)
        message = self.tui.live.progress.get(session.uid) or session.message
        headline = Content.assemble(
            (f"{self.called(session)}  ", "bold"),
            (f"{glyph(shown)} {state}", f"bold {RGB[shown.tone]}"),
            (f"  {clean(message)}" if message else "", "$muted"),
            (self._sleep_words() if state in {"RUNNING", "PAUSED"} else "", "$muted"),
        )
        self._put("#headline", headline)
        facts = [(name, clean(value)) for name, value in self._facts(session) if value]
        width = max(len(name) for name, _ in facts)
        lines = [Content.assemble((name.ljust(width + 2), "$faint"), (value, "$foreground")) for name, value in facts]
        self._put("#facts", Content("\n").join(lines))
        distinct: list[Content] = []
        width = self.query_one("#events").size.width or self.size.width
        for event in self._history[-_EVENTS:]:
            line = event_line(event, width)
            if not distinct or distinct[-1].plain[16:] != line.plain[16:]:
                distinct.append(line)
        nothing = Content.styled("none in the server's log", "$faint")
        self._put("#events", Content("\n").join(reversed(distinct)) if distinct else nothing)

    def _sleep_words(self) -> str:
        """When it is paused and stopped, if nothing changes; '' if it is not."""
        plan = self._plan
        if plan is None:
            return ""
        times = (("paused", plan.pause_time), ("stops", plan.stop_time))
        words = ", ".join(f"{what} at {minute_words(time)}" for what, time in times if time is not None)
        return f"  {words}" if words else ""

    def _put(self, selector: str, content: Content) -> None:
        """Shows a text, if it is another one: whatever is drawn again is sent to the terminal."""
        shown = self.query_one(selector, Static)
        if not isinstance(shown.content, Content) or not content.is_same(shown.content):
            shown.update(content)

    @staticmethod
    def _facts(session: Session) -> list[tuple[str, str]]:
        spec, snapshot, last = session.spec, session.snapshot, session.last_exit
        return [
            ("image", spec.image),
            ("runner", session.runner_name or "none yet"),
            ("address", session.address),
            ("network", spec.network.lower()),
            ("cpus", f"{spec.cpus:g}" if spec.cpus else "no limit"),
            ("memory", size_words(spec.memory_bytes) if spec.memory_bytes else "no limit"),
            ("processes", f"at most {spec.pids:,}"),
            ("stop grace", duration_words(spec.stop_grace)),
            ("labels", ", ".join(f"{key}={value}" for key, value in spec.labels.items())),
            ("wanted", str(session.desired) if session.desired != str(session.state) else ""),
            ("why", session.reason),
            ("snapshot", f"{age(snapshot.create_time)} ago, {size_words(snapshot.size_bytes)}" if snapshot else ""),
            ("last exit", f"code {last.exit_code} ({last.cause}), {age(last.end_time)} ago" if last else ""),
            ("owner", session.owner),
            ("created", minute_words(session.create_time)),
            ("uid", session.uid),
        ]
