"""A process of simulated runners: real streams over real TLS, and the netmap in memory instead of a kernel.

    python -m bench.runners RUNNERS.json FIRST LAST

Prints "ready" once all have the netmap; then, for each runner that joins, the times (monotonic clock, in seconds) at
which each simulated runner had it: [uid, [time, …]]. Their heartbeats contain the digest, as real ones do. What is
equal for many of them is decoded once, as real runners each have a machine for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import uvloop

from bench.cluster import known, underlay
from netvps.api.v1 import link_pb2
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.domain.runner.runner import Capacity, Heartbeat, RunnerHello, Welcome
from netvps.rpc.client.channel import TLS_OPTIONS, channel_credentials
from netvps.rpc.convert.runner.link import ToRunner, from_runner_to_proto, hello_to_proto, to_runner_from_proto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CAPACITY: Final = Capacity(cpus=8, memory_bytes=16 << 30, disk_free_bytes=100 << 30, engine_version="28.0")
_CONNECT: Final = "/netvps.api.v1.RunnerLinkService/Connect"
_AT_ONCE: Final = 16  # concurrent TLS handshakes
_AGAIN: Final = 0.2  # seconds until a refused connection is retried


@dataclass
class Crowd:
    """What the simulated runners received, together."""

    size: int
    whole: int = 0
    arrivals: dict[str, list[float]] = field(default_factory=dict)

    def had(self, update: NetmapUpdate, before: Netmap) -> None:
        """Records that a simulated runner applied an update."""
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
    """A simulated runner; reconnects when its stream ends."""

    def __init__(self, machine: dict[str, Any], setup: dict[str, Any], crowd: Crowd) -> None:
        credentials = channel_credentials(setup["ca"], machine["certificate"], setup["key"])
        self._channel = grpc.aio.secure_channel(setup["address"], credentials, TLS_OPTIONS)
        self._connect: Any = self._channel.stream_stream(_CONNECT, None, None)  # bytes, both ways
        self._underlay = underlay(machine["number"])
        self._instance = machine["uid"]
        self._netmap = Netmap()
        self._interval = 5.0
        self._crowd = crowd

    async def run(self, turn: asyncio.Semaphore) -> None:
        """Runs until cancelled; `turn` bounds concurrent connects."""
        async with self._channel:
            while True:
                with contextlib.suppress(grpc.RpcError):
                    await self._stream(turn)
                await asyncio.sleep(_AGAIN)

    async def _stream(self, turn: asyncio.Semaphore) -> None:
        async with contextlib.AsyncExitStack() as connecting:
            await connecting.enter_async_context(turn)
            staged, call = self._netmap, self._connect(self._requests())
            async for message in call:
                heard = _decoded(message)
                if isinstance(heard, Welcome):
                    self._interval = heard.heartbeat_interval
                elif isinstance(heard, NetmapUpdate):
                    staged = staged.updated(heard)
                    if heard.caught_up:
                        before, self._netmap = self._netmap, staged
                        self._crowd.had(heard, before)
                        await connecting.aclose()

    async def _requests(self) -> AsyncIterator[bytes]:
        hello = RunnerHello(
            self._instance,
            "simulated",
            _CAPACITY,
            underlay=self._underlay,
            netmap_generation=self._netmap.generation,
        )
        yield hello_to_proto(hello).SerializeToString()
        await asyncio.sleep(self._interval * random.random())
        while True:
            await asyncio.sleep(self._interval)
            heartbeat = Heartbeat(_CAPACITY, self._underlay, self._netmap.generation, self._netmap.digest)
            yield from_runner_to_proto(heartbeat).SerializeToString()


@lru_cache(maxsize=64)
def _decoded(message: bytes) -> ToRunner | None:
    return to_runner_from_proto(link_pb2.ConnectResponse.FromString(message))


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


async def _main(file: str, first: int, last: int) -> None:
    setup = known(Path(file))
    machines = setup["machines"][first:last]
    crowd, turn = Crowd(len(machines)), asyncio.Semaphore(_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for machine in machines:
            group.create_task(SimulatedRunner(machine, setup, crowd).run(turn))


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
