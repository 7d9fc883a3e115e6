"""The gateway's own logins: whom it trusts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from asyncssh import SSHClientConnection

from netvps.domain.tunnel import Eof, Reset, SshTarget
from netvps.errors import NotPermitted, Unavailable
from netvps.gateway.ports import Stream
from netvps.gateway.ssh import agent_login as ssh_upstream
from netvps.gateway.ssh.agent_login import AgentLogin
from netvps.gateway.tunnel import dialer, overlay_stream
from netvps.gateway.tunnel.dial_stream import DialStream
from netvps.services.access.logins import Grant, ref_to
from tests.gateway.conftest import UID, FakePlace, Sshd, World, a_world


async def test_a_host_certified_by_another_ca_is_not_talked_to(world: World) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    stream = await world.tunnels.open(UID, SshTarget(), "test")
    with pytest.raises(Unavailable, match="refused the gateway: Host CA key is not trusted"):
        await AgentLogin(world.authorizer, stranger).login(
            stream, Grant(ref_to(world.authorizer.session), "root", "alice"), SSHClientConnection
        )
    assert stream.is_closing()


async def test_another_session_is_not_taken_for_this_one(world: World) -> None:
    other = replace(world.authorizer.session, uid="another")
    stream = await world.tunnels.open(UID, SshTarget(), "test")
    with pytest.raises(Unavailable, match="Certificate principal mismatch"):
        await world.agent_login.login(stream, Grant(ref_to(other), "root", "alice"), SSHClientConnection)


async def test_a_stream_that_breaks_before_the_login_is_dialled_once_more(world: World) -> None:
    grant = Grant(ref_to(world.authorizer.session), "root", "alice")
    dialled = []

    async def dial() -> DialStream:
        stream = await world.tunnels.open(UID, SshTarget(), "test")
        dialled.append(stream)
        if len(dialled) == 1:
            stream.receive(Eof())  # as an agent does that ends
        return stream

    connection = await world.agent_login.reach(dial, grant, SSHClientConnection)
    connection.abort()
    assert len(dialled) == 2


async def test_a_stream_that_breaks_each_time_is_given_up(world: World) -> None:
    dialled = []

    async def dial() -> DialStream:
        stream = await world.tunnels.open(UID, SshTarget(), "test")
        dialled.append(stream)
        stream.receive(Reset("gone"))
        return stream

    with pytest.raises(Unavailable, match="refused the gateway"):
        await world.agent_login.reach(
            dial, Grant(ref_to(world.authorizer.session), "root", "alice"), SSHClientConnection
        )
    assert len(dialled) == 2


# Over the overlay, where who answers may be anybody


@contextlib.contextmanager
def overlay_at(monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(dialer, "connect", functools.partial(overlay_stream.connect, port=port))
        patch.setattr(dialer, "HEAD_START", 60.0)
        yield


@contextlib.asynccontextmanager
async def liar(answer: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[int]:
    """Greets as an SSH server does, and that is all that is true of it."""

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.readline()
        answer(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()

    async with await asyncio.start_server(accepted, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def reached(world: World) -> list[str]:
    """Which dialer were tried, the last with success."""
    dialled: list[Stream] = []

    async def dial() -> Stream:
        dialled.append(await world.dialer.open(UID, SshTarget(), "test"))
        return dialled[-1]

    connection = await world.agent_login.reach(
        dial, Grant(ref_to(world.authorizer.session), "root", "alice"), SSHClientConnection
    )
    result = await connection.run("echo out; exit 3")
    assert (result.stdout, result.exit_status) == ("out\n", 3)
    connection.abort()
    return [stream.way for stream in dialled]


async def test_over_the_overlay_without_an_agents_tunnel(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_world(sshd, tmp_path, place=FakePlace()) as world:
        await world.agent.__aexit__()
        with overlay_at(monkeypatch, sshd.port):
            assert await reached(world) == ["overlay"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: None,
        lambda writer: writer.write(b"\0\0\0\x0c" + bytes(12)),
        lambda writer: writer.transport.abort(),
    ],
    ids=["silence", "nonsense", "abort"],
)
async def test_what_only_looks_like_an_agent_is_left_for_the_tunnel(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[[asyncio.StreamWriter], None]
) -> None:
    monkeypatch.setattr(ssh_upstream, "OVERLAY_TIMEOUT", 0.5)
    async with a_world(sshd, tmp_path, place=FakePlace()) as world, liar(answer) as port:
        with overlay_at(monkeypatch, port):
            assert await reached(world) == ["overlay", "tunnel"]
            assert await reached(world) == ["tunnel"]


async def test_another_host_is_refused_and_the_tunnel_leads_to_the_right_one(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose key is not certified; and one that is another session's, by its certificate."""
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    other = sshd.host_ca.generate_host_certificate(stranger, "host", principals=["another"])
    asked: list[str] = []

    class Login(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            asked.append(username)
            return True

    for keys in (stranger, (stranger, other)):
        async with (
            a_world(sshd, tmp_path, place=FakePlace()) as world,
            await asyncssh.listen("127.0.0.1", 0, server_factory=Login, server_host_keys=[keys]) as server,
        ):
            with overlay_at(monkeypatch, server.get_port()):
                assert await reached(world) == ["overlay", "tunnel"]
    assert asked == []


async def test_a_user_that_the_session_does_not_have_is_not_looked_for_in_the_tunnel(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_world(sshd, tmp_path, place=FakePlace()) as world:
        with overlay_at(monkeypatch, sshd.port), pytest.raises(NotPermitted, match="it lets no one in as nobody-here"):
            await world.agent_login.reach(
                lambda: world.dialer.open(UID, SshTarget(), "test"),
                Grant(ref_to(world.authorizer.session), "nobody-here", "alice"),
                SSHClientConnection,
            )
        assert world.agent.requests == []
