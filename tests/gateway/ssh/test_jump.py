"""`ssh -J` through the gateway: the client is that of the session's own SSH server, which is OpenSSH's here."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from structlog.testing import capture_logs

from netvps.domain.access.audit import AuditEvent
from netvps.domain.session.session import DesiredState, SessionState
from netvps.gateway.ssh import jump
from netvps.gateway.ssh.gateway import ConnectionLimits
from tests.gateway.conftest import UID, Ran, Sshd, World, a_world, run
from tests.support.patience import PATIENCE

MIB = 1 << 20


@pytest.fixture
async def world(sshd: Sshd, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(sshd, tmp_path) as made:
        made.authorizer.terminal_ui = True
        inner = asyncssh.read_private_key(str(made.key))
        certificate = sshd.user_ca.generate_user_certificate(inner, "alice", principals=[f"{UID}/root"])
        certificate.write_certificate(str(tmp_path / "inner-cert.pub"))
        authority = f"@cert-authority {UID} {sshd.host_ca.export_public_key().decode()}"
        (tmp_path / "sessions").write_text(authority)
        yield made


def led(world: World, host: str = "dev1", *, port: int = 22, login: str = "ann") -> list[str]:
    """The command that leads to a session."""
    return world.ssh(login=login, options=("-W", f"{host}:{port}"))


def jumping(world: World, *command: str, host: str = "dev1", options: tuple[str, ...] = ()) -> list[str]:
    """As `ssh -J` does it, which passes no options on to the gateway's login."""
    values = {
        "ProxyCommand": " ".join(led(world, "%h", port=22)),
        "HostKeyAlias": UID,
        "UserKnownHostsFile": world.folder / "sessions",
        "CertificateFile": world.folder / "inner-cert.pub",
    }
    given = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", *options, *given, *world.ssh_options(), f"root@{host}", *command]


async def connected(world: World, stack: AsyncExitStack) -> asyncssh.SSHClientConnection:
    """A client of the gateway whose channels the test opens."""
    connecting = asyncssh.connect(
        "127.0.0.1", world.gateway.port, username="ann", client_keys=[str(world.key)], known_hosts=None, config=None
    )
    return await stack.enter_async_context(connecting)


async def flood_server(size: int) -> tuple[asyncio.Server, int]:
    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(size // MIB):
            writer.write(bytes(MIB))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def echo_server() -> tuple[asyncio.Server, int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read() + b"!")
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_a_command_runs_and_bytes_are_the_same_both_ways(world: World) -> None:
    assert await run(jumping(world, "echo out; echo err >&2; exit 7")) == Ran(7, b"out\n", b"err\n")
    data = os.urandom(20 * MIB)
    events: list[AuditEvent] = []
    world.gateway.audit = events.append
    with capture_logs() as logs:
        ran = await run(jumping(world, "cat", host="dev1.alice.nv.internal"), data)
    assert hashlib.sha256(ran.out).digest() == hashlib.sha256(data).digest()
    (end,) = [line for line in logs if line["event"] == "ssh end" and line.get("way") == "jump"]
    assert (end["session"], end["user"]) == (UID, "alice")
    assert min(end["received_bytes"], end["sent_bytes"]) > len(data)
    assert world.gateway._per_session == {}
    jumps = [event.action for event in events if event.target == "sessions/dev1.alice"]
    assert jumps == ["ssh.login", "ssh.end"]


async def test_keys_are_renewed_on_both_levels_while_data_flows(world: World) -> None:
    data = os.urandom(8 * MIB)
    words = jumping(world, "cat", options=("-o", "RekeyLimit=1M"))
    ran = await run([word.replace("-W", "-o RekeyLimit=1M -W") for word in words], data)
    assert (ran.code, hashlib.sha256(ran.out).digest()) == (0, hashlib.sha256(data).digest()), ran.err


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost.localdomain.x", "::1", "169.254.169.254", "fe80::1", "-", "dev1+bob"]
)
async def test_no_host_is_reached(world: World, host: str) -> None:
    ran = await run(led(world, f"[{host}]"))
    assert (ran.code, world.agent.requests) == (255, [])
    assert b"is no session: the gateway leads to NAME or NAME.OWNER only" in ran.err


async def test_no_other_port_is_reached(world: World) -> None:
    ran = await run(led(world, port=80))
    assert (ran.code, world.agent.requests) == (255, [])
    assert b"the gateway leads to port 22 of a session only" in ran.err


async def test_missing_and_foreign_sessions_look_the_same(world: World) -> None:
    missing, foreign = await asyncio.gather(run(led(world, "dev9")), run(led(world, "dev1.bob")))
    assert b"session dev9 is not open to you: `netvps ls` lists yours" in missing.err
    assert missing.err == foreign.err.replace(b"dev1.bob", b"dev9")


async def test_a_session_that_does_not_run_says_why(world: World) -> None:
    world.set_state(SessionState.STOPPED)
    ran = await run(jumping(world, "true"))
    assert ran.code == 255
    assert b"session dev1 is STOPPED: start it with: netvps start dev1" in ran.err
    world.authorizer.session = replace(world.authorizer.session, desired=DesiredState.PAUSED, state=SessionState.PAUSED)
    assert (await run(jumping(world, "true"))).code == 0
    assert world.authorizer.woken == [(UID, "alice")]


async def test_half_close(world: World) -> None:
    server, world.agent.port = await echo_server()
    async with server:
        ran = await run(led(world), b"x" * 300_000)
    assert (ran.code, ran.out) == (0, b"x" * 300_000 + b"!")


async def test_channels_are_limited_and_counted_for_the_session(sshd: Sshd, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(a_world(sshd, tmp_path, limits=ConnectionLimits(per_session=2)))
        world.authorizer.terminal_ui = True
        client = await connected(world, stack)
        first = [await client.open_connection("dev1", 22) for _ in range(2)]
        with pytest.raises(asyncssh.ChannelOpenError, match="session dev1 has 2 connections already"):
            await client.open_connection("dev1", 22)
        first[0][1].close()
        await first[0][1].wait_closed()
        await client.open_connection("dev1", 22)


async def test_channels_of_a_connection_are_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jump, "CHANNELS", 3)
    async with AsyncExitStack() as stack:
        client = await connected(world, stack)
        for _ in range(3):
            await client.open_connection("dev1", 22)
        with pytest.raises(asyncssh.ChannelOpenError, match="3 channels are open already"):
            await client.open_connection("dev1", 22)


async def test_a_client_that_does_not_read_holds_the_session_and_memory_does_not_grow(world: World) -> None:
    server, world.agent.port = await flood_server(64 * MIB)
    async with server, AsyncExitStack() as stack:
        client = await connected(world, stack)
        reader, _ = await client.open_connection("dev1", 22, window=1 << 30)
        client._transport.pause_reading()  # type: ignore[union-attr] # connected
        (connection,) = world.gateway._connections
        async with asyncio.timeout(PATIENCE):
            while not connection._jumps.held:
                await asyncio.sleep(0.01)
        transport = connection.downstream._transport
        assert transport is not None
        assert transport.get_write_buffer_size() < 4 * MIB
        client._transport.resume_reading()  # type: ignore[union-attr] # connected
        assert len(await reader.read()) == 64 * MIB


async def test_access_that_ends_closes_the_channel(world: World) -> None:
    async with AsyncExitStack() as stack:
        client = await connected(world, stack)
        reader, _ = await client.open_connection("dev1", 22)
        assert (await reader.readline()).startswith(b"SSH-2.0-")
        world.authorizer.session = replace(world.authorizer.session, owner="bob")
        world.authorizer.change()
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() is not None
        assert not client.is_closed()
        (connection,) = world.gateway._connections
        async with asyncio.timeout(PATIENCE):
            while connection._jumps.sessions:
                await asyncio.sleep(0.01)


async def test_a_removed_key_ends_the_connection_though_no_agent_reports_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.gateway.ssh.connection.REVIEW_SECONDS", 0.01)
    async with AsyncExitStack() as stack:
        client = await connected(world, stack)
        world.authorizer.keys.clear()
        async with asyncio.timeout(PATIENCE):
            await client.wait_closed()


async def test_a_client_that_leaves_while_the_session_is_dialled_leaves_nothing(world: World) -> None:
    world.agent.mute = True
    async with AsyncExitStack() as stack:
        client = await connected(world, stack)
        opening = asyncio.create_task(client.open_connection("dev1", 22))
        await world.agent.until(lambda: bool(world.agent.requests))
        client.abort()
        with pytest.raises((asyncssh.Error, OSError)):
            await opening
    async with asyncio.timeout(PATIENCE):
        while world.gateway._per_session or world.gateway.connections:
            await asyncio.sleep(0.02)


async def test_sockets_and_ports_of_the_gateway_are_not_for_clients(world: World) -> None:
    async with AsyncExitStack() as stack:
        client = await connected(world, stack)
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.open_unix_connection("/run/docker.sock")
        with pytest.raises(asyncssh.ChannelListenError):
            await client.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 9)


async def test_without_a_terminal_ui_other_channels_say_what_is_missing(world: World) -> None:
    ran = await run(world.ssh("true", login="dev9"))
    assert (ran.code, ran.err) == (2, b"netvps: you have no session dev9, and this gateway shows no terminal UI\n")
