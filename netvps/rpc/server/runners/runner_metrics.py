"""Passes measurements from runners to watchers (services.ports.MetricsSource)."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.domain.metrics import MACHINE, MAX_MEASURED, MetricsReport, MetricsRequest
from netvps.errors import NetvpsError, Unavailable
from netvps.rpc.client.streams import closing
from netvps.rpc.server.runners.runner_streams import BUSY
from netvps.services.ports import Received
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netvps.rpc.server.runners.runner_streams import RunnersElsewhere, RunnerStreams

    Target = tuple[str, str]

log = structlog.get_logger()
HISTORY: Final = 60
"""Measurements of each target in memory: those of the last minute."""
_MAX_HISTORIES: Final = 1024
"""Maximum number of targets with measurements in memory; the least recent one is forgotten."""
MAX_WAITING: Final = 4096
"""Maximum measurements that wait for a watcher; beyond that, the oldest ones are dropped."""
_SHORTEST: Final = timedelta(seconds=0.5)
"""Minimum time between two measurements of a target."""
_ASK_AGAIN: Final = 5.0
"""Seconds until other servers are asked again for a runner that none has."""
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
        self._remote: dict[str, asyncio.Task[None]] = {}
        """Of watched runners that are not connected here: takes their measurements from another server."""
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

    def stream_changed(self, runner_uid: str) -> None:
        """Requests again what is watched on a runner: a new stream begins without, and a gone one may be elsewhere."""
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

    async def _measure_elsewhere(self, elsewhere: RunnersElsewhere, runner_uid: str, request: MetricsRequest) -> None:
        while True:
            try:
                async with closing(elsewhere.measure(runner_uid, request)) as reports:
                    async for report in reports:
                        self.deliver(runner_uid, report)
            except NetvpsError as error:
                log.debug("no measurements of a runner", runner=runner_uid, error=error.message)
            await asyncio.sleep(_ASK_AGAIN * random.uniform(0.8, 1.2))  # noqa: S311 — jitter

    def _request(self, runner_uid: str) -> None:
        watched = self._watchers.get(runner_uid, {})
        sessions = sorted(watched.keys() - {MACHINE})[:MAX_MEASURED]
        request = MetricsRequest(frozenset(sessions), machine=MACHINE in watched)
        if (remote := self._remote.pop(runner_uid, None)) is not None:
            remote.cancel()
        if watched and self._streams.elsewhere is not None and not self._streams.has(runner_uid):
            work = self._measure_elsewhere(self._streams.elsewhere, runner_uid, request)
            self._remote[runner_uid] = self._tasks.start(work, name=f"metrics of {runner_uid}")
            return
        try:
            self._streams.push_here(runner_uid, request)
        except Unavailable as error:
            # One that is not connected is requested once it connects.
            if error.reason == BUSY:
                self._outdated.add(runner_uid)
                self._due.set()
