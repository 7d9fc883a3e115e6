"""A simulated runner: real streams over real TLS, and sessions that are entries of a dictionary."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from netvps.domain.runner.runner import PAUSE, Capacity, Heartbeat, RunnerHello, Welcome
from netvps.domain.session.session import Assignment, DesiredState, SessionReport, SessionState
from netvps.errors import NetvpsError
from netvps.rpc.client.link_client import RunnerLink
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.programs.sim.enrolment import Machine

CAPACITY: Final = Capacity(64, 256 << 30, 1 << 40, "simulated", 2 << 40, architecture="amd64")
_GOALS: Final = {
    DesiredState.RUNNING: SessionState.RUNNING,
    DesiredState.PAUSED: SessionState.PAUSED,
    DesiredState.STOPPED: SessionState.STOPPED,
    DesiredState.DELETED: SessionState.DELETED,
}
_SECONDS: Final = {
    DesiredState.RUNNING: (0.2, 2.0),
    DesiredState.PAUSED: (0.0, 0.1),
    DesiredState.STOPPED: (0.1, 3.0),
    DesiredState.DELETED: (0.1, 1.0),
}
"""How long a machine takes for a change, at least and at most."""
_AGAIN: Final = (0.2, 1.0)
"""Seconds until an interrupted stream is opened again."""
_AT_ONCE: Final = 1024
"""Reports that wait to be sent."""


class SimulatedRunner:
    """Makes each change that it is asked for after a while, reports it, and reconnects when its stream ends.

    How long each change takes depends on the seed, the names of runner and session, and the generation alone.
    """

    def __init__(self, machine: Machine, address: str, ca: str, key: str, seed: int) -> None:
        self._machine = machine
        self._trust = (address, ca, machine.certificate, key)
        self._seed = seed
        self._random = random.Random(f"{seed} {machine.name}")  # noqa: S311 — a simulation
        self._interval = 5.0
        self._reports: asyncio.Queue[SessionReport] = asyncio.Queue(_AT_ONCE)
        self._done: dict[str, SessionReport] = {}
        self.connected = asyncio.Event()

    async def run(self, turn: asyncio.Semaphore) -> None:
        """Runs until cancelled; `turn` bounds concurrent handshakes."""
        async with RunnerLink(*self._trust) as link:
            while True:
                try:
                    async with Tasks() as changes:
                        await self._follow(link, turn, changes)
                except NetvpsError:
                    self.connected.clear()
                await asyncio.sleep(self._random.uniform(*_AGAIN))

    async def _follow(self, link: RunnerLink, turn: asyncio.Semaphore, changes: Tasks) -> None:
        hello = RunnerHello(self._machine.uid, "simulated", CAPACITY, (PAUSE,))
        messages = link.connect(hello, self._outgoing())
        async with turn:
            first = await anext(messages)
        if isinstance(first, Welcome):
            self._interval = first.heartbeat_interval
        self.connected.set()
        async for message in messages:
            if isinstance(message, Assignment):
                changes.start(self._change(message), name=f"change of {message.session_id}")

    async def _change(self, wanted: Assignment) -> None:
        """Brings a session where it should be; one that was there already is reported again, at once."""
        uid, done = wanted.session_uid, self._done.get(wanted.session_uid)
        if done is None or (done.epoch, done.generation) != (wanted.epoch, wanted.generation):
            draw = random.Random(f"{self._seed} {self._machine.name} {wanted.session_id} {wanted.generation}")  # noqa: S311
            await asyncio.sleep(draw.uniform(*_SECONDS[wanted.desired]))
            done = SessionReport(uid, wanted.epoch, wanted.generation, _GOALS[wanted.desired])
            if done.state is SessionState.DELETED:
                self._done.pop(uid, None)
            else:
                self._done[uid] = done
        await self._reports.put(done)

    async def _outgoing(self) -> AsyncIterator[Heartbeat | SessionReport]:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval * self._random.random()
        while True:
            try:
                async with asyncio.timeout_at(due):
                    yield await self._reports.get()
            except TimeoutError:
                due = loop.time() + self._interval
                yield Heartbeat(CAPACITY)
