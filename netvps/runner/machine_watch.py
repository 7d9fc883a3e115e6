"""Watches the machine: whether the engine answers, its capacity, and the isolation of sessions from its services."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from netvps.domain.runner.runner import Capacity
from netvps.domain.session.container import ENGINE_AWAY
from netvps.errors import NetvpsError
from netvps.runner.ports import HostFilter, Machine
from netvps.runner.session.features import Features

_CAPACITY_SECONDS = 20.0
"""Interval between queries of the engine's capacity."""
_ENGINE_SECONDS = 30.0
"""Time without an answer after which the engine counts as unable to start sessions."""
_HOST_FILTER_SECONDS: Final = 60.0
log = structlog.get_logger()


class MachineWatch:
    """`run` it. Independent of the heartbeats, which must not wait for a busy engine."""

    def __init__(
        self,
        machine: Machine,
        host_filter: HostFilter | None,
        changed: Callable[[], None],
        features: Features | None = None,
    ) -> None:
        """`host_filter` None: not configured. Calls `changed` when a problem begins or ends."""
        self.capacity = Capacity()
        self.engine_problem = ""
        """Why no session can start now, or ""."""
        self.isolation_problem = ""
        """Why sessions without the overlay are not isolated from the machine's services, or ""."""
        self._machine = machine
        self._features = features or Features()
        self._host_filter = host_filter
        self._changed = changed
        self._due = asyncio.Event()

    def hurry(self) -> None:
        """Queries the engine at once: its event stream ended or began."""
        self._due.set()

    async def check(self) -> None:
        """Checks everything once."""
        await self._ask_engine()
        await self._keep_host_apart()

    async def run(self) -> None:
        """Checks everything periodically, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_asking(), name="capacity")
            group.create_task(self._keep_keeping_apart(), name="host filter")

    async def _keep_asking(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_CAPACITY_SECONDS):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            await self._ask_engine()

    async def _ask_engine(self) -> None:
        before, self.engine_problem = (self.engine_problem, self.capacity.gpus), await self._asked()
        if before != (self.engine_problem, self.capacity.gpus):
            self._changed()

    async def _asked(self) -> str:
        """Queries the capacity; returns why that failed, or ""."""
        try:
            await self._features.refresh()
            async with asyncio.timeout(_ENGINE_SECONDS):
                capacity = await self._machine.capacity()
            self.capacity = replace(capacity, gpus=self._features.gpus, gpu_problem=self._features.gpu_problem)
        except TimeoutError:
            return (
                f"Docker has not answered for {_ENGINE_SECONDS:g} s; check whether it hangs (systemctl status docker)"
            )
        except NetvpsError as error:
            say = log.debug if error.reason == ENGINE_AWAY else log.warning  # logged once by the event watcher
            say("cannot read the machine's capacity", error=error.message)
            return error.message
        return ""

    async def _keep_keeping_apart(self) -> None:
        """Reloads the rules periodically: other programs flush them."""
        while True:
            await asyncio.sleep(_HOST_FILTER_SECONDS)
            await self._keep_host_apart()

    async def _keep_host_apart(self) -> None:
        if self._host_filter is None:
            return
        problem = await self._host_filter.ensure()
        if problem == self.isolation_problem:
            return
        self.isolation_problem = problem
        self._changed()
        if problem:
            log.warning("sessions without the overlay are not isolated from services of this machine", error=problem)
        else:
            log.info("sessions without the overlay are isolated from services of this machine")
