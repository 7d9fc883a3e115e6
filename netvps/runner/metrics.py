"""Measures what sessions and the machine use, once a second, while the control plane requests it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from netvps.domain.metrics import Counters, MetricsReport, MetricsRequest, measure
from netvps.errors import NetvpsError
from netvps.runner.ports import Meter

INTERVAL: Final = 1.0
_FIND_SECONDS: Final = 2.0
log = structlog.get_logger()


class MetricsSampler:
    """`run` it. It reads nothing until something is requested."""

    def __init__(self, meter: Meter, post: Callable[[MetricsReport], None], interval: float = INTERVAL) -> None:
        self._meter = meter
        self._post = post
        self._interval = interval
        self._request = MetricsRequest()
        self._requested = asyncio.Event()
        self._changed = asyncio.Event()

    def request(self, request: MetricsRequest) -> None:
        """Replaces what is measured."""
        self._request = request
        self._changed.set()
        if request:
            self._requested.set()
        else:
            self._requested.clear()

    async def run(self) -> None:
        """Measures until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_finding(), name="processes of measured sessions")
            group.create_task(self._keep_measuring(), name="metrics")

    async def _keep_finding(self) -> None:
        """A task of its own, so that an engine that does not answer delays no measurement."""
        while True:
            await self._requested.wait()
            self._changed.clear()
            try:
                await self._meter.find(self._request.session_uids)
            except NetvpsError as error:
                log.debug("cannot find the processes of sessions to measure", error=error.message)
            try:
                async with asyncio.timeout(_FIND_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _keep_measuring(self) -> None:
        loop = asyncio.get_running_loop()
        before: dict[str, Counters] = {}
        due = loop.time()
        while True:
            if not self._requested.is_set():
                before = {}
                await self._requested.wait()
                due = loop.time()
            request = self._request
            after = await self._meter.read(request.session_uids, machine=request.machine)
            found = {key: measure(before[key], counters) for key, counters in after.items() if key in before}
            measured = {key: measurement for key, measurement in found.items() if measurement is not None}
            if measured and self._requested.is_set():
                self._post(MetricsReport(measured))
            before = after
            due = max(due + self._interval, loop.time())
            await asyncio.sleep(due - loop.time())
