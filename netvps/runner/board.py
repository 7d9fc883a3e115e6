"""What the runner has to say: the latest report of each session, and heartbeats between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from netvps.domain.overlay.health import ProbeReport
from netvps.domain.runner import Heartbeat
from netvps.domain.session import SessionReport, SessionState
from netvps.runner.ports import FromRunner


class Board:
    """One report for each session, the newest; so it is bounded, and a slow link never holds back a worker."""

    def __init__(self) -> None:
        self._reports: dict[str, SessionReport] = {}
        self._unsent: dict[str, None] = {}
        self._answers: deque[ProbeReport] = deque()
        self._news = asyncio.Event()
        self.hurried = False
        """A heartbeat is due, whatever the time."""

    def hurry(self) -> None:
        """The next heartbeat is due now: there is something in it that is not to wait."""
        self.hurried = True
        self._news.set()

    @property
    def unsent(self) -> int:
        """How many reports were not sent in this connection."""
        return len(self._unsent)

    def post(self, report: SessionReport) -> None:
        """Shows a report. The same again is no news."""
        if self._reports.get(report.session_uid) != report:
            self._reports[report.session_uid] = report
            self._unsent[report.session_uid] = None
            self._news.set()

    def answer(self, report: ProbeReport) -> None:
        """Sends the answer to a request of this connection; whoever asks bounds how many there are."""
        self._answers.append(report)
        self._news.set()

    def outgoing(self, heartbeat: Callable[[], Heartbeat], interval: Callable[[], float]) -> Outgoing:
        """For one connection: all reports, then each new one, and a `heartbeat` every `interval` seconds."""
        self._unsent = dict.fromkeys(self._reports)
        self._answers.clear()
        return Outgoing(self, heartbeat, interval)

    def take(self) -> SessionReport | ProbeReport | None:
        """A report that was not sent in this connection, or None."""
        if self._answers:
            return self._answers.popleft()
        if not self._unsent:
            if not self.hurried:
                self._news.clear()
            return None
        uid = next(iter(self._unsent))
        del self._unsent[uid]
        report = self._reports[uid]
        if report.state is SessionState.DELETED:
            # Nothing answers it. If it is lost, its assignment comes again, and then so does this.
            del self._reports[uid]
        return report

    async def news(self, seconds: float) -> None:
        """Returns when there may be a report to take, or after so many seconds."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._news.wait()
        except TimeoutError:
            pass


class Outgoing:
    """An iterator and not a generator: it may be dropped, or cancelled in the middle, and nothing is left to close."""

    def __init__(self, board: Board, heartbeat: Callable[[], Heartbeat], interval: Callable[[], float]) -> None:
        self._board = board
        self._heartbeat = heartbeat
        self._interval = interval
        self._last_beat = asyncio.get_running_loop().time()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FromRunner:
        loop = asyncio.get_running_loop()
        while True:
            left = self._last_beat + self._interval() - loop.time()
            if left <= 0 or self._board.hurried:
                self._last_beat = loop.time()
                self._board.hurried = False
                return self._heartbeat()
            if report := self._board.take():
                return report
            await self._board.news(left)
