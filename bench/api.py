"""`api`: calls to a server over its socket, against a server that returns messages of the same size.

Of 2.4 ms of CPU for a list of 100, 1.1 are spent reading it, 0.7 reading the caller's account, 0.3 in gRPC, and 0.1 on
the messages. Each of the two reads is three hops to a connection's thread (the revision, the rows, the end), of about
0.19 each; in that thread, without SQLAlchemy's asyncio layer, the same takes 0.07.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc

from bench.bare import CALL, bare_server
from bench.place import Place, unique
from bench.result import Goal, Measure, Row
from bench.turns import in_turn, milliseconds
from bench.watchers import fan_out
from netvps.adapters.process_usage import cpu_seconds
from netvps.adapters.store import open_store
from netvps.api.v1 import session_pb2, session_spec_pb2
from netvps.api.v1.session_pb2_grpc import SessionServiceStub
from netvps.domain.names import SessionName
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.spec import SessionSpec
from netvps.process import clock
from netvps.process.account import user_name

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE: Final = 100
_STEPS: Final = (10, 1_000, 10_000)  # sessions there are
_WATCHERS: Final = 1_000
_AT_ONCE: Final = 500  # sessions put in one transaction
_LISTS: Final = 100  # calls, of which the server's CPU time is taken
_TIMEOUT: Final = 60


def measure(rounds: int) -> list[Row]:
    """Measures the latency of calls per number of sessions, lists per second of server CPU, and events."""
    with Place() as place, bare_server(place.folder / "bare.sock") as (address, bare_pid):
        pid = place.serve()
        with grpc.insecure_channel(place.socket) as channel, grpc.insecure_channel(address) as other:
            rows, calls, there = [], Calls(SessionServiceStub(channel), other), 0
            for count in _STEPS:
                asyncio.run(_fill(place, there, count))
                there = count
                rows += calls.latencies(count, rounds)
                rows.append(calls.lists_of_a_core(count, min(rounds, 7), pid, bare_pid))
            watchers = _WATCHERS if rounds > 1 else 10
            rows.append(asyncio.run(fan_out(place.socket, address, watchers, events=min(rounds, 15))))
    return rows


class Calls:
    """Calls to netvps, each with a bare call whose answer has the same size."""

    def __init__(self, stub: Any, bare: grpc.Channel) -> None:
        self._stub = stub
        self._bare = bare.unary_unary(CALL, None, None)
        self._name = self.create().name

    def latencies(self, count: int, rounds: int) -> list[Row]:
        """Measures each call with `count` sessions."""
        ours: dict[str, Callable[[], Any]] = {
            "create": self.create,
            "get": partial(self._stub.GetSession, session_pb2.GetSessionRequest(name=self._name), timeout=_TIMEOUT),
            f"list, a page of {PAGE}": self.list,
        }
        rows = []
        for name, call in ours.items():
            bare = self._same_size(call())
            both = {"netvps": partial(milliseconds, call), "bare gRPC": partial(milliseconds, bare)}
            rows.append(Row(f"{name}, of {count:,} sessions", "ms", in_turn(rounds, both)))
        return rows

    def lists_of_a_core(self, count: int, rounds: int, pid: int, bare_pid: int) -> Row:
        """Measures lists of a page per second of the server's CPU time."""
        bare = self._same_size(self.list())
        rates = {
            "netvps": partial(_rate, self.list, pid),
            "bare gRPC": partial(_rate, bare, bare_pid),
        }
        goal = Goal(Measure.MEDIAN, 1000, at_least=True) if count >= PAGE else None
        return Row(f"lists of {min(count, PAGE)} a core, of {count:,} sessions", "1/s", in_turn(rounds, rates), goal)

    def create(self) -> Any:
        """Creates a session with a new name; there is no runner for it."""
        spec = session_spec_pb2.SessionSpec(image="none:latest")
        request = session_pb2.CreateSessionRequest(session_id=unique("s"), request_id=os.urandom(16).hex(), spec=spec)
        return self._stub.CreateSession(request, timeout=_TIMEOUT)

    def list(self) -> Any:
        """Lists the first page."""
        return self._stub.ListSessions(session_pb2.ListSessionsRequest(page_size=PAGE), timeout=_TIMEOUT)

    def _same_size(self, answer: Any) -> Callable[[], Any]:
        return partial(self._bare, str(answer.ByteSize()).encode(), timeout=_TIMEOUT)


def _rate(call: Callable[[], object], pid: int) -> float:
    before = cpu_seconds(pid)
    for _ in range(_LISTS):
        call()
    return _LISTS / (cpu_seconds(pid) - before)


async def _fill(place: Place, there: int, count: int) -> None:
    """Writes sessions into the server's database directly: creating each by the API would take minutes."""
    owner, spec = user_name(), SessionSpec(image="none:latest")
    async with open_store(place.database, clock.now) as store:
        for start in range(there, count, _AT_ONCE):
            async with store.write("bench") as tx:
                for number in range(start, min(count, start + _AT_ONCE)):
                    name = SessionName(owner, f"bench-{number:05}")
                    await tx.put(new_session(clock.new_uid(), name, spec, clock.now()))
