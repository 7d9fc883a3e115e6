"""`api`: calls to a server with no runner, over its socket; the sessions stay PENDING."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc

from bench.place import Place, unique
from bench.result import Goal, Measure, Row
from bench.turns import in_turn, milliseconds
from bench.watchers import fan_out
from netvps.api.v1 import session_pb2
from netvps.api.v1.session_pb2_grpc import SessionServiceStub

PAGE: Final = 100
_STEPS: Final = (10, 1_000)  # sessions there are
_TOGETHER: Final = 20  # creates under way at once, while the table is filled
_TIMEOUT: Final = 60


def measure(rounds: int) -> list[Row]:
    """Latency of each call at each number of sessions, lists in a second of the server's CPU, and events."""
    steps = _STEPS if rounds > 1 else _STEPS[:1]
    rows = []
    with Place() as place:
        pid = place.serve()
        with grpc.insecure_channel(place.socket) as channel:
            stub = SessionServiceStub(channel)
            there = 0
            for count in steps:
                asyncio.run(_fill(place.socket, count - there - rounds - 2))
                name, made = _create(stub).name, rounds + 2
                there = max(count, there + made)
                rows += _calls(stub, name, count, rounds)
                rows.append(_lists_per_second(stub, pid, count, rounds))
            rows.append(asyncio.run(fan_out(place.socket, 1000 if rounds > 1 else 10, events=min(rounds, 20))))
    return rows


def _calls(stub: Any, name: str, count: int, rounds: int) -> list[Row]:
    """The table holds `count` sessions once these were created."""
    first = session_pb2.ListSessionsRequest(page_size=PAGE)
    get = session_pb2.GetSessionRequest(name=name)
    things = {
        "create": lambda: milliseconds(partial(_create, stub)),
        "get": lambda: milliseconds(partial(stub.GetSession, get, timeout=_TIMEOUT)),
        f"list, a page of {PAGE}": lambda: milliseconds(partial(stub.ListSessions, first, timeout=_TIMEOUT)),
    }
    samples = in_turn(rounds, things)
    whole = in_turn(min(rounds, 10), {"list, all": lambda: milliseconds(partial(_list_all, stub))})
    return [
        Row(f"{thing}, of {count:,} sessions", "ms", {thing: values}) for thing, values in {**samples, **whole}.items()
    ]


def _lists_per_second(stub: Any, pid: int, count: int, rounds: int) -> Row:
    """Lists of a page, divided by the CPU time that the server took for them."""
    request = session_pb2.ListSessionsRequest(page_size=PAGE)

    def rate() -> float:
        before = _cpu_seconds(pid)
        calls = 0
        while (spent := _cpu_seconds(pid) - before) < min(1.0, rounds / 10):
            stub.ListSessions(request, timeout=_TIMEOUT)
            calls += 1
        return calls / spent

    samples = in_turn(min(rounds, 5), {"lists": rate})
    goal = Goal(Measure.MEDIAN, 1000, at_least=True) if count >= PAGE else None
    return Row(f"lists of {min(count, PAGE)} a core, of {count:,} sessions", "1/s", samples, goal)


def _create(stub: Any) -> Any:
    return stub.CreateSession(_request(), timeout=_TIMEOUT)


def _request() -> session_pb2.CreateSessionRequest:
    return session_pb2.CreateSessionRequest(
        session_id=unique("s"), request_id=os.urandom(16).hex(), spec=session_pb2.SessionSpec(image="none:latest")
    )


def _list_all(stub: Any) -> None:
    request = session_pb2.ListSessionsRequest(page_size=500)
    while True:
        page = stub.ListSessions(request, timeout=_TIMEOUT)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def _fill(address: str, count: int) -> None:
    async with grpc.aio.insecure_channel(address) as channel, asyncio.TaskGroup() as group:
        stub: Any = SessionServiceStub(channel)
        left = iter(range(max(0, count)))

        async def make() -> None:
            for made in left:
                await stub.CreateSession(_request(), timeout=_TIMEOUT)
                if made % 500 == 0:
                    print(f"\r  {made} sessions made", end="", file=sys.stderr, flush=True)

        for _ in range(_TOGETHER):
            group.create_task(make())


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
