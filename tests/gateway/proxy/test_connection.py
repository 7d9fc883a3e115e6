"""Connections of `netvps ssh-proxy`, with clients that keep the rules and clients that do not."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.access.audit import AuditEvent
from netvps.domain.proxy import GREETING, MAX_LINE, Word, line
from netvps.domain.resumable import OPEN_SIZE
from netvps.domain.session.session import DesiredState, SessionState
from netvps.domain.tunnel import ResumableTarget
from netvps.gateway.proxy import connection
from netvps.gateway.ssh.gateway import ConnectionLimits
from netvps.process.agent_program import agent_program
from tests.gateway.conftest import UID, Sshd, World, a_world
from tests.support.patience import PATIENCE

ALICE = Caller("alice", Role.USER)
ATTACHMENT = bytes(range(OPEN_SIZE))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture(params=["here", "apart", "relayed"])
async def world(request: pytest.FixtureRequest, sshd: Sshd, tmp_path: Path) -> AsyncIterator[World]:
    """With the bytes in the gateway's process or not, and a session that answers what it hears."""
    relay = agent_program() if request.param == "relayed" else None
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(a_world(sshd, tmp_path, apart=request.param != "here", relay=relay))
        server = await stack.enter_async_context(await asyncio.start_server(echo, "127.0.0.1", 0))
        made.agent.port = server.sockets[0].getsockname()[1]
        yield made


@pytest.fixture
async def plain(sshd: Sshd, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(sshd, tmp_path) as made:
        yield made


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(world: World, first: bytes) -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(first)
    assert (await reader.readline()).startswith(b"SSH-2.0-")
    return reader, writer


async def greeted(world: World, host: str = "dev1") -> Streams:
    ticket = await world.tickets.issue(ALICE, host, ATTACHMENT)
    return await connected(world, GREETING + ticket.encode() + b"\n")


async def answer(streams: Streams) -> bytes:
    """The first line; the connection must end after it."""
    async with asyncio.timeout(PATIENCE):
        found = await streams[0].readline()
        assert await streams[0].read() == b""
    streams[1].close()
    return found


async def test_bytes_are_the_same_both_ways_and_are_counted(world: World) -> None:
    events: list[AuditEvent] = []
    world.gateway.audit = events.append
    reader, writer = await greeted(world)
    assert await reader.readline() == line(Word.OPEN)
    (request,) = world.agent.requests
    assert request.target == ResumableTarget("alice", ATTACHMENT)
    assert request.origin.startswith("alice@127.0.0.1:")
    assert world.gateway.connections == 1
    data = os.urandom(3 << 20)

    async def send() -> None:
        writer.write(data)
        await writer.drain()

    sending = asyncio.create_task(send())
    got = await reader.readexactly(len(data))
    await sending
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    writer.close()
    await world.agent.until(lambda: world.gateway.connections == 0 and len(events) == 2)
    assert [(event.action, event.actor, event.target) for event in events] == [
        ("ssh.login", "alice", "sessions/dev1.alice"),
        ("ssh.end", "alice", "sessions/dev1.alice"),
    ]
    details = dict(events[1].details)
    assert (details["way"], details["unix_user"]) == ("proxy", "root")
    assert (int(details["received_bytes"]), int(details["sent_bytes"])) == (len(data), len(data))
    assert world.gateway._per_session == world.gateway._per_user == {}


async def test_the_session_leaving_ends_it(world: World) -> None:
    reader, writer = await greeted(world)
    await reader.readline()
    await world.agent.until(lambda: bool(world.agent.connections))
    for each in list(world.agent.connections):
        each.transport.abort()
    assert await reader.read() == b""
    writer.close()
    await world.agent.until(lambda: world.gateway.connections == 0)


async def test_who_lost_access_is_out_at_once(world: World) -> None:
    reader, writer = await greeted(world)
    await reader.readline()
    world.authorizer.users.clear()
    world.tunnels.access_changed("alice")
    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""
    writer.close()


async def test_stopping_the_gateway_ends_it(world: World) -> None:
    reader, writer = await greeted(world)
    await reader.readline()
    await world.gateway.stop(0)
    assert await reader.read() == b""
    writer.close()


async def test_a_ticket_counts_once(plain: World) -> None:
    ticket = await plain.tickets.issue(ALICE, "dev1", ATTACHMENT)
    first = await connected(plain, GREETING + ticket.encode() + b"\n")
    assert await first[0].readline() == line(Word.OPEN)
    unknown = line(Word.LATER, "the ticket was used, or has expired: connect again")
    for again in (ticket, "", "x" * 43, "\udcff"):
        said = GREETING + again.encode(errors="surrogateescape") + b"\n"
        assert await answer(await connected(plain, said)) == unknown
    assert len(plain.agent.requests) == 1
    first[1].close()


async def test_a_greeting_may_come_in_pieces(plain: World) -> None:
    ticket = await plain.tickets.issue(ALICE, "dev1", ATTACHMENT)
    reader, writer = await connected(plain, GREETING[:3])
    for piece in (GREETING[3:9], GREETING[9:] + ticket[:5].encode(), ticket[5:].encode() + b"\n"):
        writer.write(piece)
        await asyncio.sleep(0)
    assert await reader.readline() == line(Word.OPEN)
    writer.close()


@pytest.mark.parametrize("more", [b"\nhello", b"x" * MAX_LINE, b"\n\n"], ids=["bytes", "a long line", "two lines"])
async def test_a_client_that_does_not_wait_is_closed(plain: World, more: bytes) -> None:
    reader, writer = await connected(plain, GREETING + b"t" * 43 + more)
    assert await reader.read() == b""
    writer.close()
    await plain.agent.until(lambda: plain.gateway.unauthenticated == 0)


async def test_a_client_that_says_nothing_more_is_closed(plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_LINE", 0.02)
    reader, writer = await connected(plain, GREETING)
    assert await reader.read() == b""
    writer.close()


Change = Callable[[World], None]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda world: world.authorizer.users.clear(), line(Word.REFUSED, "there is no session dev1 of yours")),
        (
            lambda world: world.set_state(SessionState.FAILED),
            line(Word.REFUSED, "session dev1 is FAILED: see why with: netvps show dev1"),
        ),
        (
            lambda world: setattr(world.gateway, "_limits", ConnectionLimits(per_session=0)),
            line(Word.LATER, "session dev1 has 0 connections already: close some"),
        ),
        (
            lambda world: setattr(world.agent, "port", 1),
            line(Word.REFUSED, "the session could not connect: [Errno 111] Connect call failed ('127.0.0.1', 1)"),
        ),
        (
            lambda world: world.tunnels._agents[UID].__setattr__(
                "hello", replace(world.tunnels._agents[UID].hello, resumable=False)
            ),
            line(
                Word.REFUSED,
                "its agent is of an older netvps: restart the session (netvps restart NAME), or use plain ssh",
            ),
        ),
    ],
    ids=["removed user", "failed session", "limit", "agent refuses", "older agent"],
)
async def test_refusals_say_why(plain: World, change: Change, expected: bytes) -> None:
    ticket = await plain.tickets.issue(ALICE, "dev1", ATTACHMENT)
    change(plain)
    assert await answer(await connected(plain, GREETING + ticket.encode() + b"\n")) == expected
    await plain.agent.until(lambda: plain.gateway.connections == plain.gateway.unauthenticated == 0)


async def test_a_missing_agent_may_come_back(plain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.gateway.tunnel.tunnels.CONNECT_TIMEOUT", 0.05)
    plain.tunnels._agents.clear()
    assert (await answer(await greeted(plain))).startswith(
        line(Word.LATER, "the session's agent is not connected")[:-1]
    )


async def test_a_paused_session_is_resumed_with_a_word(plain: World) -> None:
    session = plain.authorizer.session
    plain.authorizer.session = replace(session, desired=DesiredState.PAUSED, state=SessionState.PAUSED)
    reader, writer = await greeted(plain)
    assert await reader.readline() == line(Word.WAIT, "session dev1 is paused: resuming it")
    assert await reader.readline() == line(Word.OPEN)
    assert plain.authorizer.woken == [(UID, "alice")]
    writer.close()


async def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(plain: World) -> None:
    plain.agent.mute = True
    _, writer = await greeted(plain)
    await plain.agent.until(lambda: bool(plain.agent.requests))
    writer.close()
    await plain.agent.until(lambda: not plain.tunnels._agents[UID]._dials and plain.gateway.connections == 0)
