"""A process of simulated runners: real streams over real TLS, and the netmap in memory in place of a kernel.

    python -m bench.runners RUNNERS.json FIRST LAST

Says "ready" once all have the map, then, for each runner that joins, the times (of the monotonic clock, in seconds) at
which each of ours had it: [uid, [time, …]]. Their heartbeats tell the digest, as those of real ones do.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop

from bench.cluster import known, underlay
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.domain.runner import Capacity, Heartbeat, RunnerHello, Welcome
from netvps.errors import NetvpsError
from netvps.rpc.link_client import RunnerLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CAPACITY: Final = Capacity(cpus=8, memory_bytes=16 << 30, disk_free_bytes=100 << 30, engine_version="28.0")
_AT_ONCE: Final = 16  # that shake hands at a time
_AGAIN: Final = 0.2  # seconds, of a connection that is refused at first


@dataclass
class Crowd:
    """What ours have heard, all of them together."""

    size: int
    whole: int = 0
    arrivals: dict[str, list[float]] = field(default_factory=dict)

    def had(self, update: NetmapUpdate, before: Netmap) -> None:
        """One of ours acted on an update."""
        now = time.monotonic()
        self.whole += not before.generation
        if not before.generation and self.whole == self.size:
            _say("ready")
        for peer in update.peers if before.generation else ():
            times = self.arrivals.setdefault(peer.runner, [])
            times.append(now)
            if len(times) == self.size:
                _say([peer.runner, self.arrivals.pop(peer.runner)])


class SimulatedRunner:
    """One of them. Connects again when its stream ends."""

    def __init__(self, machine: dict[str, Any], told: dict[str, Any], crowd: Crowd) -> None:
        self._link = RunnerLink(told["address"], told["ca"], machine["certificate"], told["key"])
        self._underlay = underlay(machine["number"])
        self._instance = machine["uid"]
        self._netmap = Netmap()
        self._interval = 5.0
        self._crowd = crowd

    async def run(self, turn: asyncio.Semaphore) -> None:
        """For ever; takes its turn to connect."""
        async with self._link:
            while True:
                try:
                    await self._stream(turn)
                except NetvpsError:
                    await asyncio.sleep(_AGAIN)

    async def _stream(self, turn: asyncio.Semaphore) -> None:
        hello = RunnerHello(
            self._instance,
            "simulated",
            _CAPACITY,
            underlay=self._underlay,
            netmap_generation=self._netmap.generation,
        )
        staged = self._netmap
        await turn.acquire()
        waiting = True
        try:
            async with aclosing(self._link.connect(hello, self._heartbeats())) as messages:  # type: ignore[type-var]
                async for message in messages:
                    if isinstance(message, Welcome):
                        self._interval = message.heartbeat_interval
                        turn.release()
                        waiting = False
                    elif isinstance(message, NetmapUpdate):
                        staged = staged.updated(message)
                        if message.caught_up:
                            before, self._netmap = self._netmap, staged
                            self._crowd.had(message, before)
        finally:
            if waiting:
                turn.release()

    async def _heartbeats(self) -> AsyncIterator[Heartbeat]:
        await asyncio.sleep(self._interval * random.random())
        while True:
            await asyncio.sleep(self._interval)
            yield Heartbeat(_CAPACITY, self._underlay, self._netmap.generation, self._netmap.digest)


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


async def _main(file: str, first: int, last: int) -> None:
    told = known(Path(file))
    machines = told["machines"][first:last]
    crowd, turn = Crowd(len(machines)), asyncio.Semaphore(_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for machine in machines:
            group.create_task(SimulatedRunner(machine, told, crowd).run(turn))


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
