"""Passes measurements from runners to watchers (services.ports.MetricsSource)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

from netvps.domain.metrics import MACHINE, MAX_MEASURED, MetricsReport, MetricsRequest
from netvps.errors import NetvpsError, Unavailable
from netvps.rpc.server.runners.runner_streams import BUSY
from netvps.services.ports import Received
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netvps.rpc.server.runners.runner_streams import RunnerStreams

    Target = tuple[str, str]

HISTORY: Final = 60
"""Measurements of each target in memory: those of the last minute."""
_MAX_HISTORIES: Final = 1024
"""Maximum number of targets with measurements in memory; the least recent one is forgotten."""
MAX_WAITING: Final = 4096
"""Maximum measurements that wait for a watcher; beyond that, the oldest ones are dropped."""
_SHORTEST: Final = timedelta(seconds=0.5)
"""Minimum time between two measurements of a target."""
_COALESCE: Final = 0.1
"""Seconds between two requests to a runner, so that many new watchers cost one."""


class _Inbox:
    """The measurements for one watcher."""

    def __init__(self, hub: StreamedMetrics) -> None:
        self._hub = hub
        self._waiting: deque[Received] = deque(maxlen=MAX_WAITING)
        self._news = asyncio.Event()
        self._error: NetvpsError | None = None
        self.targets: frozenset[Target] = frozenset()

    def follow(self, targets: frozenset[Target]) -> None:
        """Replaces the targets."""
        new, gone = targets - self.targets, self.targets - targets
        self.targets = targets
        self._hub.changed(self, new, gone)

    def put(self, received: Received) -> None:
        """Adds a measurement."""
        self._waiting.append(received)
        self._news.set()

    async def next(self) -> list[Received]:
        """All measurements that wait."""
        await self._news.wait()
        self._news.clear()
        if self._error is not None:
            self._news.set()
            raise self._error
        received = [*self._waiting]
        self._waiting.clear()
        return received

    def end(self, error: NetvpsError) -> None:
        """Makes `next` raise."""
        self._error = error
        self._news.set()


class StreamedMetrics:
    """Requests measurements on the runners' streams while they are watched. An async context manager."""

    def __init__(self, streams: RunnerStreams, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._streams = streams
        self._clock = clock
        self._watchers: dict[str, dict[str, set[_Inbox]]] = {}
        """By runner, and session or MACHINE."""
        self._history: OrderedDict[Target, deque[Received]] = OrderedDict()
        self._outdated: set[str] = set()
        """Runners whose last request is not what is watched now."""
        self._due = asyncio.Event()
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.start(self._keep_requesting(), name="requests for metrics")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.__aexit__()

    @contextmanager
    def open(self) -> Iterator[_Inbox]:
        """Opens an inbox, without targets."""
        inbox = _Inbox(self)
        try:
            yield inbox
        finally:
            inbox.follow(frozenset())

    def changed(self, inbox: _Inbox, new: frozenset[Target], gone: frozenset[Target]) -> None:
        """Adds an inbox to the watchers of new targets, with their history, and removes it from others."""
        for runner, uid in gone:
            watched = self._watchers[runner]
            watched[uid].discard(inbox)
            if not watched[uid]:
                del watched[uid]
                self._outdated.add(runner)
            if not watched:
                del self._watchers[runner]
        for runner, uid in new:
            watchers = self._watchers.setdefault(runner, {}).setdefault(uid, set())
            if not watchers:
                self._outdated.add(runner)
            watchers.add(inbox)
        oldest = self._clock() - timedelta(seconds=HISTORY)
        recent = [each for target in new for each in self._history.get(target, ()) if each.time > oldest]
        for each in sorted(recent, key=lambda each: each.time):
            inbox.put(each)
        if self._outdated:
            self._due.set()

    def connected(self, runner_uid: str) -> None:
        """Requests again what is watched on a runner, which measures nothing on a new stream."""
        if runner_uid in self._watchers:
            self._outdated.add(runner_uid)
            self._due.set()

    def deliver(self, runner_uid: str, report: MetricsReport) -> None:
        """Passes a runner's measurements to those who watch them; drops what no one watches, or what comes too soon."""
        watched, now = self._watchers.get(runner_uid, {}), self._clock()
        for uid, measured in report.measurements.items():
            if uid not in watched:
                continue
            target = runner_uid, uid
            history = self._history.setdefault(target, deque(maxlen=HISTORY))
            if history and timedelta() <= now - history[-1].time < _SHORTEST:
                continue
            received = Received(target, now, measured)
            history.append(received)
            self._history.move_to_end(target)
            for inbox in watched[uid]:
                inbox.put(received)
        while len(self._history) > _MAX_HISTORIES:
            self._history.popitem(last=False)

    async def _keep_requesting(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            outdated, self._outdated = self._outdated, set()
            for runner in outdated:
                self._request(runner)
            await asyncio.sleep(_COALESCE)

    def _request(self, runner_uid: str) -> None:
        watched = self._watchers.get(runner_uid, {})
        sessions = sorted(watched.keys() - {MACHINE})[:MAX_MEASURED]
        try:
            self._streams.push(runner_uid, MetricsRequest(frozenset(sessions), machine=MACHINE in watched))
        except Unavailable as error:
            # One that is not connected is requested once it connects.
            if error.reason == BUSY:
                self._outdated.add(runner_uid)
                self._due.set()
