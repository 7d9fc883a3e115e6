"""Collects the metrics of the control plane and of a runner when they are requested."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps import __version__
from netvps.adapters.metrics import CONTENT_TYPE, Metrics
from netvps.domain.runner.runner import Runner, RunnerState
from netvps.domain.session.session import Session, SessionState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from netvps.adapters.store.store import SqlStore
    from netvps.gateway.tunnel.tunnels import Tunnels
    from netvps.gateway.worker.server import WorkerSocket
    from netvps.rpc.server.server import ApiServer
    from netvps.runner.runner import Runner as RunnerProcess
    from netvps.services.feed import Feed
    from netvps.services.sessions.watch import Watch

_FRESH: Final = 1.0
"""Seconds for which a page is cached, so that frequent requests do not load the store."""


class MetricsPage:
    """The metrics page for the HTTP server; `read` updates the counts."""

    content_type: Final = CONTENT_TYPE

    def __init__(self, read: Callable[[Metrics], Awaitable[None]]) -> None:
        self.metrics = Metrics(__version__)
        self._read = read
        self._turn = asyncio.Lock()
        self._page = b""
        self._made = float("-inf")

    async def content(self) -> bytes:
        """The page. Raises NetvpsError if the store cannot be read."""
        async with self._turn:
            if time.monotonic() - self._made >= _FRESH:
                await self._read(self.metrics)
                self._page, self._made = self.metrics.page(), time.monotonic()
            return self._page


@dataclass(frozen=True, slots=True)
class ControlPlaneCounts:
    """The counts of a control plane."""

    store: SqlStore
    feed: Feed
    watch: Watch
    tunnels: Tunnels
    ssh: WorkerSocket
    api: ApiServer

    async def read(self, metrics: Metrics) -> None:
        """Updates the metrics; states without sessions or runners are 0."""
        async with self.store.read() as reader:
            sessions = await reader.tally(Session, "state")
            runners = await reader.tally(Runner, "state")
        metrics.show("sessions", {state: sum(sessions.get(state, ())) for state in SessionState})
        metrics.show("runners", {state: sum(runners.get(state, ())) for state in RunnerState})
        metrics.show(
            "streams",
            {
                "runner_link": self.api.runner_links,
                "agent_control": self.tunnels.controls,
                "dial_back": self.tunnels.dial_backs,
                "ssh": self.ssh.connections,
                "http": self.ssh.http_connections,
                "watch": self.watch.watchers,
            },
        )
        metrics.show(
            "queue_length",
            {
                "store_writers": self.store.writers_waiting,
                "feed_slowest_reader": self.feed.longest_queue,
                "ssh_logins": self.ssh.unauthenticated,
            },
        )


@dataclass(frozen=True, slots=True)
class RunnerCounts:
    """The counts of a runner."""

    runner: RunnerProcess

    async def read(self, metrics: Metrics) -> None:
        """Updates the metrics."""
        metrics.show("streams", {"logs": self.runner.log_streams})
        metrics.show("queue_length", {"reports": self.runner.unsent_reports})
