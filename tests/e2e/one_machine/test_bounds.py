"""Many at once, against a server in a process of its own: one effect, a bound on memory, everybody served."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from netvps.api.v1 import session_pb2 as pb
from netvps.api.v1 import session_spec_pb2 as spec_pb
from netvps.api.v1.session_pb2_grpc import SessionServiceStub
from netvps.process.readiness import Outcome, await_outcome
from netvps.rpc.client.channel import TLS_OPTIONS, channel_credentials
from netvps.rpc.client.client import Client, Endpoint
from tests.e2e.system import System, new_system
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.e2e

CLIENTS = 200
WAITING = 1000
# A channel of its own for each client: gRPC otherwise shares one connection among channels to the same address.
_OWN = (*TLS_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


class Server:
    """`netvps server`, which can be killed and started again."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.address = f"unix:{system.runtime}/api.sock"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns once it serves."""
        reading = self._launch()
        async with asyncio.timeout(PATIENCE):
            assert await await_outcome(reading) == Outcome()

    def _launch(self) -> int:
        reading, writing = os.pipe()
        flags = [word for name, port in self.system.ports.items() for word in (f"--{name}-port", str(port))]
        command = [sys.executable, "-m", "netvps.programs.server", *flags, "--drain", "1", "--ready-fd", str(writing)]
        environment = self.system.full_environment()
        with (self.system.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, pass_fds=(writing,), stderr=log)
        os.close(writing)
        return reading

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def memory(self, field: str) -> int:
        """VmRSS (now) or VmHWM (the most so far), in MiB."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (kib,) = [line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:")]
        return int(kib) // 1024

    def client(self) -> Client:
        return Client(Endpoint(self.address))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    system = new_system()
    made = Server(system)
    try:
        await made.start()
        yield made
    finally:
        made.kill()
        system.destroy()


@asynccontextmanager
async def _clients(address: str, number: int) -> AsyncIterator[list[Any]]:
    """So many clients, each with a connection of its own."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with AsyncExitStack() as stack:
        channels = [grpc.aio.insecure_channel(address, options) for _ in range(number)]
        yield [SessionServiceStub(await stack.enter_async_context(channel)) for channel in channels]


def _create(name: str, request_id: str) -> pb.CreateSessionRequest:
    return pb.CreateSessionRequest(session_id=name, request_id=request_id, spec=spec_pb.SessionSpec(image="debian"))


async def test_twenty_clients_with_one_request_id_have_one_effect(server: Server) -> None:
    wanted = pb.CreateSessionRequest(
        request_id="one", spec=spec_pb.SessionSpec(image="debian")
    )  # no name: any would do
    async with _clients(server.address, 20) as clients:
        made = await asyncio.gather(*(client.CreateSession(wanted, timeout=30) for client in clients))
    assert len({(session.uid, session.name) for session in made}) == 1

    server.kill()
    await server.start()
    async with _clients(server.address, 20) as clients:
        again = await asyncio.gather(*(client.CreateSession(wanted, timeout=30) for client in clients))
        assert {session.uid for session in again} == {made[0].uid}
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await clients[0].CreateSession(_create("other", "one"), timeout=30)
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
        listed = await clients[0].ListSessions(pb.ListSessionsRequest(parent="users/-"), timeout=30)
    assert [session.uid for session in listed.sessions] == [made[0].uid]


async def test_a_thousand_creates_that_wait_stay_within_their_memory(server: Server, record_property: Any) -> None:
    async with _clients(server.address, 20) as clients:
        await asyncio.gather(*(client.ListSessions(pb.ListSessionsRequest(), timeout=30) for client in clients))
        idle, began = server.memory("VmRSS"), time.monotonic()

        async def create(number: int) -> int:
            """Until it is taken: who is asked to try again does, with the same request id."""
            for _ in range(20):
                try:
                    wanted = _create(f"w{number}", f"r{number}")
                    made = await clients[number % 20].CreateSession(wanted, timeout=60)
                    return int(made.state)
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE, error.details()
                    await asyncio.sleep(0.5)
            raise AssertionError(f"create {number} was never taken")

        states = await asyncio.gather(*(create(number) for number in range(WAITING)))
        assert states == [pb.SESSION_STATE_PENDING] * WAITING
    measured = {"idle_mib": idle, "peak_mib": server.memory("VmHWM"), "seconds": round(time.monotonic() - began, 1)}
    record_property("measured", json.dumps(measured))
    assert measured["peak_mib"] - idle < 150, measured


async def test_two_hundred_clients_that_come_back_at_once_are_all_served(server: Server, record_property: Any) -> None:
    def prepare() -> tuple[str, str]:
        with server.client() as client:
            return client.create_api_key(), client.server_info().ca_certificate

    key, ca = await asyncio.to_thread(prepare)
    metadata = (("authorization", f"Bearer {key}"),)
    async with AsyncExitStack() as stack:
        clients: list[Any] = []
        for _ in range(CLIENTS):
            channel = grpc.aio.secure_channel(f"127.0.0.1:{server.system.ports['api']}", channel_credentials(ca), _OWN)
            clients.append(SessionServiceStub(await stack.enter_async_context(channel)))

        async def caught_up(client: Any, from_revision: int) -> tuple[Any, int]:
            """A watch that has sent everything; tried again while the server is unavailable."""
            while True:
                wanted = pb.WatchSessionsRequest(from_revision=from_revision)
                events = aiter(client.WatchSessions(wanted, metadata=metadata, wait_for_ready=True))
                try:
                    async for event in events:
                        if event.type == pb.WATCH_EVENT_TYPE_CAUGHT_UP:
                            return events, event.revision
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE, error.details()

        before = await asyncio.gather(*(caught_up(client, 0) for client in clients))
        server.kill()
        await server.start()
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            after = await asyncio.gather(
                *(caught_up(client, seen) for client, (_, seen) in zip(clients, before, strict=True))
            )
            seconds = round(time.monotonic() - began, 1)
            await clients[0].CreateSession(_create("news", "news"), metadata=metadata, timeout=30)
            news = await asyncio.gather(*(anext(events) for events, _ in after))
        assert {event.session.name.partition(".")[0] for event in news} == {"sessions/news"}
    record_property("measured", json.dumps({"clients": CLIENTS, "seconds": seconds}))
