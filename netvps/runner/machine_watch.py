"""Watches what sessions stand on: whether the container engine answers, what the machine has, who is kept from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from netvps.domain.container import ENGINE_AWAY
from netvps.domain.runner import Capacity
from netvps.errors import NetvpsError
from netvps.runner.ports import HostFilter, Machine

_CAPACITY_SECONDS = 20.0
"""Between two questions to the engine."""
_ENGINE_SECONDS = 30.0
"""Without an answer, after which no session is said to be able to start on the engine."""
_HOST_FILTER_SECONDS: Final = 60.0
log = structlog.get_logger()


class MachineWatch:
    """`run` it. Apart from the heartbeats, which must not wait for a busy engine."""

    def __init__(self, machine: Machine, host_filter: HostFilter | None, changed: Callable[[], None]) -> None:
        """`host_filter` None: nobody asks for one. Calls `changed` when a problem comes or goes."""
        self.capacity = Capacity()
        self.engine_problem = ""
        """Why no session can start now, or ""."""
        self.isolation_problem = ""
        """Why sessions without the overlay are not kept from services of the machine, or ""."""
        self._machine = machine
        self._host_filter = host_filter
        self._changed = changed
        self._due = asyncio.Event()

    def hurry(self) -> None:
        """The engine went away, or came back: it is asked at once."""
        self._due.set()

    async def look(self) -> None:
        """Looks at all of it once."""
        await self._ask_engine()
        await self._keep_host_apart()

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
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
        before, self.engine_problem = self.engine_problem, await self._asked()
        if before != self.engine_problem:
            self._changed()

    async def _asked(self) -> str:
        """Asks the engine what the machine has; returns why it does not say, or ""."""
        try:
            async with asyncio.timeout(_ENGINE_SECONDS):
                self.capacity = await self._machine.capacity()
        except TimeoutError:
            return f"Docker has not answered for {_ENGINE_SECONDS:g} s; see whether it hangs (systemctl status docker)"
        except NetvpsError as error:
            say = log.debug if error.reason == ENGINE_AWAY else log.warning  # that is said where its events are read
            say("what the machine has is not known", error=error.message)
            return error.message
        return ""

    async def _keep_keeping_apart(self) -> None:
        """Again and again: whoever reloads the machine's rules removes these."""
        while True:
            await asyncio.sleep(_HOST_FILTER_SECONDS)
            await self._keep_host_apart()

    async def _keep_host_apart(self) -> None:
        if self._host_filter is None:
            return
        problem = await self._host_filter.keep()
        if problem == self.isolation_problem:
            return
        self.isolation_problem = problem
        self._changed()
        if problem:
            log.warning("sessions without the overlay are not kept from services of this machine", error=problem)
        else:
            log.info("sessions without the overlay are kept from services of this machine")
