"""Three servers on one PostgreSQL, as their programs wire them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import asyncssh
import pytest

from netvps.adapters.store import store as store_module
from netvps.domain.access.accounts import Role, User
from netvps.domain.metrics import MACHINE
from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.exchange import BrowseOrder
from netvps.domain.tunnel import SshTarget
from netvps.errors import ConfigError, Unavailable
from netvps.process import clock
from netvps.programs.wiring.network.mesh import address_of, start_mesh
from netvps.settings import ServerSettings, load
from tests.gateway.fake_agent import FakeAgent
from tests.programs.wiring.network.servers import LabRunner, Server, start
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

T = TypeVar("T")


@pytest.fixture
async def servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Server]]:
    """Three, whose tick never comes."""
    monkeypatch.setattr(store_module, "_POLL_SECONDS", 3600.0)
    database = str(request.getfixturevalue("cluster").create_database())
    async with AsyncExitStack() as stack:
        yield await start(stack, database, 3)


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def agent_at(server: Server, uid: str, port: int) -> FakeAgent:
    """An agent that connects to a server."""
    agent = FakeAgent(server.plane.tunnels, uid, port)
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
    agent.hello = replace(agent.hello, host_key=key)
    return agent


async def say(server: Server, uid: str) -> bytes:
    """What the echo in a session answers through a server."""
    stream = await server.plane.tunnels.open(uid, SshTarget(), "alice@test")
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    stream.start(protocol)
    writer = asyncio.StreamWriter(stream, protocol, reader, asyncio.get_running_loop())
    writer.write(b"hello")
    try:
        return await reader.read()
    finally:
        writer.close()


async def sent_back(server: Server, runner: str) -> bytes:
    """What the runner answers to files through a server."""
    async with server.plane.api.files.open(runner, "s", BrowseOrder(()), user="root") as exchange:
        await exchange.send(b"x" * 65536)
        await exchange.send(None)
        return b"".join([cast("bytes", piece) async for piece in exchange.answers()])


async def measured(server: Server, runner: str) -> float:
    with server.plane.api._metrics.open() as inbox:
        inbox.follow(frozenset({(runner, MACHINE)}))
        return (await inbox.next())[0].measured.cpus


async def until_reached(work: Callable[[], Awaitable[T]]) -> T:
    """The result, as a client that tries again gets it."""
    while True:
        try:
            return await work()
        except Unavailable:
            await asyncio.sleep(0.05)


@pytest.mark.postgres
async def test_three_servers_are_one(servers: list[Server], echo: int) -> None:
    """One test, for they start slowly: nudges, then calls for what is connected to another server, then its death."""
    one, two, three = servers
    async with asyncio.timeout(PATIENCE):
        for number, server in enumerate(servers):
            async with server.plane.store.read() as view:
                before = view.revision
            waiting = [asyncio.ensure_future(other.plane.store.wait(before)) for other in servers]
            async with server.plane.store.write("test") as tx:
                await tx.put(User(f"user{number}", Role.USER, clock.now()))
            await asyncio.gather(*waiting)

    runner = await LabRunner.join(two)
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as at_two:
        await at_two.enter_async_context(runner.connected(two))
        await one.do(lambda client: client.create_session("dev1", SessionSpec(image="debian:12")))
        session, reached = await one.do(lambda client: client.wait_session("dev1", [SessionState.RUNNING], PATIENCE))
        assert reached
        async with one.plane.store.read() as view:
            (runner_uid,) = [each.uid for each in await view.find(Runner)]
        await at_two.enter_async_context(agent_at(two, session.uid, echo))
        for server in servers:
            assert b"".join(await server.do(lambda client: [*client.read_logs("dev1")])) == LabRunner.LOGS
            assert await sent_back(server, runner_uid) == b"x" * 65536
            assert await server.plane.api._probes.probe(runner_uid, ()) == ()
            assert await measured(server, runner_uid) == 1.0
            assert await say(server, session.uid) == b"hello"

    async with asyncio.timeout(PATIENCE):
        await two.plane.stop()
        async with runner.connected(three), agent_at(three, session.uid, echo):
            for server in (one, three):
                assert await until_reached(partial(sent_back, server, runner_uid)) == b"x" * 65536
                assert await until_reached(partial(say, server, session.uid)) == b"hello"
            mesh = three.plane.tunnels.elsewhere._mesh  # type: ignore[union-attr]
            mesh.meet([])  # a partition
            one.plane.tunnels.elsewhere._mesh.meet([])  # type: ignore[union-attr]
            with pytest.raises(Unavailable, match="is connected to no server that this one reaches: try again"):
                await sent_back(one, runner_uid)
            assert await sent_back(three, runner_uid) == b"x" * 65536


@pytest.mark.parametrize(
    ("flags", "names", "address"),
    [
        ({}, ("127.0.0.1",), "127.0.0.1:7444"),
        ({}, ("127.0.0.1", "::1", "192.0.2.1"), "192.0.2.1:7444"),
        ({"link_port": "9"}, ("::1", "2001:db8::1"), "[2001:db8::1]:9"),
        ({"public_name": "vps.example"}, ("vps.example", "127.0.0.1", "192.0.2.1"), "192.0.2.1:7444"),
        ({"public_name": "vps.example"}, ("vps.example", "127.0.0.1"), "vps.example:7444"),
        ({"mesh_address": "mesh.example:1"}, ("vps.example",), "mesh.example:1"),
    ],
)
def test_others_reach_it_at_what_is_set_or_at_its_first_address(
    flags: dict[str, Any], names: tuple[str, ...], address: str
) -> None:
    settings = load(ServerSettings, {"database_url": "postgresql://h/d"} | flags)
    assert address_of(settings, names) == address


async def test_a_server_on_sqlite_has_no_others() -> None:
    unused = cast("Any", None)
    async with AsyncExitStack() as stack:
        alone, meant = load(ServerSettings, {}), load(ServerSettings, {"mesh_address": "h:1"})
        assert await start_mesh(stack, alone, unused, unused, (), tunnels=unused) is None
        with pytest.raises(ConfigError, match="mesh_address is for servers that share PostgreSQL"):
            await start_mesh(stack, meant, unused, unused, (), tunnels=unused)
