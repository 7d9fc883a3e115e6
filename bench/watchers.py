"""Many who watch, one who changes something: how long until each of them knows."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Final

import grpc

from bench.place import unique
from bench.result import Goal, Measure, Row
from netvps.api.v1 import session_pb2
from netvps.api.v1.session_pb2_grpc import SessionServiceStub

_CHANNELS: Final = 20
_PAUSE: Final = 0.3  # seconds between events
_TIMEOUT: Final = 60.0


async def fan_out(address: str, watchers: int, events: int) -> Row:
    """Milliseconds from the call that makes a session until each watcher has its event.

    The watchers share this process, and the machine's CPUs with the server: what they take is in the figures.
    """
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options) for _ in range(_CHANNELS)]
    try:
        return await _measured([SessionServiceStub(channel) for channel in channels], watchers, events)
    finally:
        for channel in channels:
            await channel.close(None)


async def _measured(stubs: list[Any], watchers: int, events: int) -> Row:
    now = (await stubs[0].ListSessions(session_pb2.ListSessionsRequest(page_size=1), timeout=_TIMEOUT)).revision
    began: dict[str, float] = {}
    every: list[float] = []
    last: list[float] = []
    caught_up, told = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def watch(stub: Any) -> None:
        async for event in stub.WatchSessions(session_pb2.WatchSessionsRequest(from_revision=now)):
            if event.type == session_pb2.WATCH_EVENT_TYPE_CAUGHT_UP:
                caught_up.release()
            elif (name := event.session.name.rpartition("/")[2]) in began:
                every.append((time.perf_counter() - began[name]) * 1000)
                told.release()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watch(stubs[n % len(stubs)])) for n in range(watchers)]
        async with asyncio.timeout(_TIMEOUT * 2):
            for _ in range(watchers):
                await caught_up.acquire()
            for _ in range(events):
                name = unique("w")
                began[name] = began_at = time.perf_counter()
                await _create(stubs[0], name)
                for _ in range(watchers):
                    await told.acquire()
                last.append((time.perf_counter() - began_at) * 1000)
                await asyncio.sleep(_PAUSE)
        for task in tasks:
            task.cancel()
    goal = Goal(Measure.P99, 250)
    return Row(f"event to {watchers:,} watchers", "ms", {"each watcher": every, "the last watcher": last}, goal)


async def _create(stub: Any, name: str) -> Any:
    spec = session_pb2.SessionSpec(image="none:latest")
    request = session_pb2.CreateSessionRequest(session_id=name, request_id=os.urandom(16).hex(), spec=spec)
    return await stub.CreateSession(request, timeout=_TIMEOUT)
