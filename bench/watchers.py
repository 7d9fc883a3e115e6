"""Measures event delivery: many watchers, one change, and the time until each watcher has it."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc

from bench.bare import TELL, WATCH
from bench.place import unique
from bench.result import Goal, Measure, Row
from netvps.api.v1 import session_pb2, session_spec_pb2
from netvps.api.v1.session_pb2_grpc import SessionServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHANNELS: Final = 20
_SIZE: Final = 200  # bytes of a bare event, about what ours has
_TIMEOUT: Final = 120.0


class Watched(Protocol):
    """A watch over one channel."""

    def watch(self) -> AsyncIterator[bool]:
        """Yields False once caught up, then True per event."""

    async def change(self) -> None:
        """Causes an event."""


class Sessions:
    """A watch of netvps."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = SessionServiceStub(channel)

    async def watch(self) -> AsyncIterator[bool]:
        request = session_pb2.ListSessionsRequest(page_size=1)
        now = (await self._stub.ListSessions(request, timeout=_TIMEOUT)).revision
        async for event in self._stub.WatchSessions(session_pb2.WatchSessionsRequest(from_revision=now)):
            yield event.type != session_pb2.WATCH_EVENT_TYPE_CAUGHT_UP

    async def change(self) -> None:
        spec = session_spec_pb2.SessionSpec(image="none:latest")
        request = session_pb2.CreateSessionRequest(session_id=unique("w"), request_id=os.urandom(16).hex(), spec=spec)
        await self._stub.CreateSession(request, timeout=_TIMEOUT)


class Bare:
    """A watch of the bare server."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._watch = channel.unary_stream(WATCH, None, None)
        self._tell = channel.unary_unary(TELL, None, None)

    async def watch(self) -> AsyncIterator[bool]:
        async for event in self._watch(b""):
            yield bool(event)

    async def change(self) -> None:
        await self._tell(bytes(_SIZE), timeout=_TIMEOUT)


class Audience:
    """All watchers of one source. They share this process, and the machine's CPUs with the server."""

    def __init__(self, watched: list[Watched]) -> None:
        """Creates one watcher per channel."""
        self._watched = watched
        self._began = 0.0
        self._delays: list[float] = []
        self._caught_up, self._heard = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self._count = 0

    async def gather(self, tasks: asyncio.TaskGroup, count: int) -> list[asyncio.Task[None]]:
        """Starts the watchers; returns once all have caught up."""
        self._count = count
        watching = [tasks.create_task(self._watch(self._watched[n % len(self._watched)])) for n in range(count)]
        await _all(self._caught_up, count)
        return watching

    async def hear(self) -> list[float]:
        """Measures milliseconds from a change until each watcher has it."""
        self._delays, self._began = [], time.perf_counter()
        await self._watched[0].change()
        await _all(self._heard, self._count)
        return self._delays

    async def _watch(self, one: Watched) -> None:
        async for is_event in one.watch():
            if is_event:
                self._delays.append((time.perf_counter() - self._began) * 1000)
            (self._heard if is_event else self._caught_up).release()


async def fan_out(ours: str, bare: str, watchers: int, events: int) -> Row:
    """Measures from a change until each watcher has its event; netvps and bare in alternation."""
    samples: dict[str, list[float]] = {"netvps": [], "bare gRPC": []}
    async with AsyncExitStack() as stack:
        audiences = [
            Audience([kind(await stack.enter_async_context(_channel(address))) for _ in range(_CHANNELS)])
            for kind, address in ((Sessions, ours), (Bare, bare))
        ]
        async with asyncio.timeout(_TIMEOUT), asyncio.TaskGroup() as group:
            watching = [await audience.gather(group, watchers) for audience in audiences]
            for _ in range(events):
                for heard, audience in zip(samples.values(), audiences, strict=True):
                    heard.extend(await audience.hear())
            for task in itertools.chain(*watching):
                task.cancel()
    return Row(f"event to {watchers:,} watchers", "ms", samples, Goal(Measure.P99, 250))


def _channel(address: str) -> grpc.aio.Channel:
    """Opens a separate connection."""
    return grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])


async def _all(semaphore: asyncio.Semaphore, count: int) -> None:
    for _ in range(count):
        await semaphore.acquire()
