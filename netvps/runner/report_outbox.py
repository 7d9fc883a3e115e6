"""Queues what the runner reports: the latest report of each session, and heartbeats in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Self

from netvps.domain.metrics import MetricsReport
from netvps.domain.overlay.peer_health import ProbeReport
from netvps.domain.runner.runner import Heartbeat
from netvps.domain.session.session import SessionReport, SessionState
from netvps.domain.snapshot.copies import CopyOrder, CopyReport, CopyState
from netvps.domain.task.task import TaskReport
from netvps.runner.ports import FromRunner


class ReportOutbox:
    """Holds the latest report of each session: bounded, and never blocking a reconciler on a slow connection."""

    def __init__(self) -> None:
        self._reports: dict[str, SessionReport] = {}
        self._unsent: dict[str, None] = {}
        self._copies: dict[str, CopyReport] = {}
        self._unsent_copies: dict[str, None] = {}
        self._tasks: dict[str, TaskReport] = {}
        self._unsent_tasks: dict[str, None] = {}
        self._answers: deque[ProbeReport] = deque()
        self._metrics: MetricsReport | None = None
        self._ready = asyncio.Event()
        self.hurried = False
        """A heartbeat is due now."""

    def hurry(self) -> None:
        """Makes the next heartbeat due now, because its content is urgent."""
        self.hurried = True
        self._ready.set()

    @property
    def unsent(self) -> int:
        """Number of reports not yet sent over this connection."""
        return len(self._unsent)

    def post(self, report: SessionReport) -> None:
        """Queues a report, unless it equals the last one."""
        if self._reports.get(report.session_uid) != report:
            self._reports[report.session_uid] = report
            self._unsent[report.session_uid] = None
            self._ready.set()

    def post_copy(self, report: CopyReport) -> None:
        """Queues a report about a copy in place of an earlier one that was not sent yet, with its damage."""
        if report.snapshot in self._unsent_copies and not report.damaged:
            report = replace(report, damaged=self._copies[report.snapshot].damaged)
        if self._copies.get(report.snapshot) != report:
            self._copies[report.snapshot] = report
            self._unsent_copies[report.snapshot] = None
            self._ready.set()

    def forget_copy(self, order: CopyOrder) -> None:
        """Drops the report about a copy that is not ordered any more."""
        self._copies.pop(order.snapshot, None)
        self._unsent_copies.pop(order.snapshot, None)

    def post_task(self, report: TaskReport) -> None:
        """Queues a report about a task, unless it equals the last one."""
        if self._tasks.get(report.id) != report:
            self._tasks[report.id] = report
            self._unsent_tasks[report.id] = None
            self._ready.set()

    def forget_task(self, task_id: str) -> None:
        """Drops the report about a task whose end is recorded."""
        self._tasks.pop(task_id, None)
        self._unsent_tasks.pop(task_id, None)

    def answer(self, report: ProbeReport) -> None:
        """Queues the answer to a request of this connection; the requester bounds their number."""
        self._answers.append(report)
        self._ready.set()

    def post_metrics(self, report: MetricsReport) -> None:
        """Queues measurements, in place of earlier ones that were not sent yet."""
        self._metrics = report
        self._ready.set()

    def outgoing(self, heartbeat: Callable[[], Heartbeat], interval: Callable[[], float]) -> Outgoing:
        """Yields, for one connection, all reports, then each new one, and a `heartbeat` every `interval` seconds."""
        self._unsent = dict.fromkeys(self._reports)
        self._unsent_copies = dict.fromkeys(self._copies)
        self._unsent_tasks = dict.fromkeys(self._tasks)
        self._answers.clear()
        self._metrics = None
        return Outgoing(self, heartbeat, interval)

    def pop(self) -> FromRunner | None:
        """Returns a report not yet sent over this connection, or None. Measurements come last."""
        if self._answers:
            return self._answers.popleft()
        if not self._unsent:
            if self._unsent_copies:
                return self._take_copy()
            if self._unsent_tasks:
                return self._take_task()
            if self._metrics is not None:
                metrics, self._metrics = self._metrics, None
                return metrics
            if not self.hurried:
                self._ready.clear()
            return None
        uid = next(iter(self._unsent))
        del self._unsent[uid]
        report = self._reports[uid]
        if report.state is SessionState.DELETED:
            # Not acknowledged: if it is lost, the assignment is sent again, and reported again.
            del self._reports[uid]
        return report

    def _take_task(self) -> TaskReport:
        task_id = next(iter(self._unsent_tasks))
        del self._unsent_tasks[task_id]
        report = self._tasks[task_id]
        if report.gone:  # if it is lost, the order is sent again, and reported again
            del self._tasks[task_id]
        return report

    def _take_copy(self) -> CopyReport:
        uid = next(iter(self._unsent_copies))
        del self._unsent_copies[uid]
        report = self._copies[uid]
        if report.state is CopyState.GONE:  # if it is lost, the order is sent again, and reported again
            del self._copies[uid]
        elif report.state is CopyState.HELD:  # the damage is repaired: the next connection need not know of it
            self._copies[uid] = replace(report, damaged="")
        return report

    async def news(self, seconds: float) -> None:
        """Returns when a report may be queued, or after `seconds`."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._ready.wait()
        except TimeoutError:
            pass


class Outgoing:
    """An iterator, not a generator: it may be dropped or cancelled at any point without cleanup."""

    def __init__(self, board: ReportOutbox, heartbeat: Callable[[], Heartbeat], interval: Callable[[], float]) -> None:
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
            if report := self._board.pop():
                return report
            await self._board.news(left)
