"""A simulated runner: real streams over real TLS, and sessions and tasks that are entries of a dictionary."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from netvps.domain.runner.runner import COMMANDS, PAUSE, TASKS, Capacity, Heartbeat, RunnerHello, Welcome
from netvps.domain.session.session import Assignment, SessionReport, SessionState
from netvps.domain.task.task import TaskAction, TaskOrder, TaskReport, TaskState
from netvps.errors import NetvpsError
from netvps.programs.sim.behaviour import Fault
from netvps.rpc.client.link_client import RunnerLink
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.programs.sim.behaviour import Behaviour
    from netvps.programs.sim.enrolment import Machine

CAPACITY: Final = Capacity(64, 256 << 30, 1 << 40, "simulated", 2 << 40, architecture="amd64")
_AGAIN: Final = (0.2, 1.0)
"""Seconds until an interrupted stream is opened again."""
_CONNECTED, _LOST = (60.0, 120.0), (20.0, 60.0)
"""Seconds; of a lost runner as a server sees it, so they do not depend on the speed."""
_AT_ONCE: Final = 1024
"""Reports that wait to be sent."""


class SimulatedRunner:
    """Makes each change that it is asked for after a while, reports it, and reconnects when its stream ends."""

    def __init__(self, machine: Machine, address: str, ca: str, key: str, behaviour: Behaviour) -> None:
        self._machine = machine
        self._trust = (address, ca, machine.certificate, key)
        self._behaviour = behaviour
        self._random = random.Random(f"{behaviour.seed} {machine.name}")  # noqa: S311 — a simulation
        self._interval = 5.0
        self._reports: asyncio.Queue[SessionReport | TaskReport] = asyncio.Queue(_AT_ONCE)
        self._done: dict[str, SessionReport] = {}
        self._ended: dict[str, TaskReport] = {}
        self.connected = asyncio.Event()

    async def run(self, turn: asyncio.Semaphore) -> None:
        """Runs until cancelled; `turn` bounds concurrent handshakes."""
        async with RunnerLink(*self._trust) as link:
            while True:
                away = _AGAIN
                try:
                    async with asyncio.timeout(self._until_lost()), Tasks() as changes:
                        await self._follow(link, turn, changes)
                except NetvpsError:
                    pass
                except TimeoutError:
                    away = _LOST
                self.connected.clear()
                await asyncio.sleep(self._random.uniform(*away))

    def _until_lost(self) -> float | None:
        return self._random.uniform(*_CONNECTED) if Fault.LOST_RUNNER in self._behaviour.faults else None

    async def _follow(self, link: RunnerLink, turn: asyncio.Semaphore, changes: Tasks) -> None:
        hello = RunnerHello(self._machine.uid, "simulated", CAPACITY, (PAUSE, TASKS, COMMANDS))
        messages = link.connect(hello, self._outgoing())
        async with turn:
            first = await anext(messages)
        if isinstance(first, Welcome):
            self._interval = first.heartbeat_interval
        self.connected.set()
        async for message in messages:
            if isinstance(message, Assignment):
                changes.start(self._change(message), name=f"change of {message.session_id}")
            elif isinstance(message, TaskOrder):
                changes.start(self._carry_out(message), name=f"task {message.id}")

    async def _change(self, wanted: Assignment) -> None:
        """Brings a session where it should be; one that was there already is reported again, at once."""
        uid, done = wanted.session_uid, self._done.get(wanted.session_uid)
        if done is None or (done.epoch, done.generation) != (wanted.epoch, wanted.generation):
            seconds, done = self._behaviour.change(self._machine.name, wanted)
            await asyncio.sleep(seconds)
            if done.state is SessionState.DELETED:
                self._done.pop(uid, None)
            else:
                self._done[uid] = done
        await self._report(done)

    async def _carry_out(self, order: TaskOrder) -> None:
        """Runs a task for a while; one that has ended is reported again, at once."""
        ended = self._ended.get(order.id)
        match order.action:
            case TaskAction.KEEP:
                return
            case TaskAction.REMOVE:
                self._ended.pop(order.id, None)
                ended = TaskReport(order.id, order.epoch, TaskState.LOST, gone=True)
            case TaskAction.CANCEL if ended is None:
                ended = self._ended[order.id] = TaskReport(order.id, order.epoch, TaskState.CANCELLED)
            case TaskAction.RUN if ended is None or ended.epoch != order.epoch:
                seconds, ended = self._behaviour.task(order)
                await self._report(TaskReport(order.id, order.epoch, TaskState.RUNNING, start_time=datetime.now(UTC)))
                await asyncio.sleep(seconds)
                ended = self._ended.setdefault(order.id, ended)
        if ended is not None:
            await self._report(ended)

    async def _report(self, report: SessionReport | TaskReport) -> None:
        for _ in range(2 if Fault.DUPLICATE in self._behaviour.faults else 1):
            await self._reports.put(report)

    async def _outgoing(self) -> AsyncIterator[Heartbeat | SessionReport | TaskReport]:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval * self._random.random()
        while True:
            try:
                async with asyncio.timeout_at(due):
                    yield await self._reports.get()
            except TimeoutError:
                due = loop.time() + self._interval
                yield Heartbeat(CAPACITY)
