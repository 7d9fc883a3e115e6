"""The gateway is the same over the private socket, and who misuses that socket is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
import uvloop

from netvps import timing
from netvps.domain.access.audit import AuditEvent
from netvps.domain.names import SshLogin
from netvps.domain.tunnel import SshTarget
from netvps.errors import ConfigError, NotFound, Unauthenticated, Unavailable
from netvps.gateway.worker import client as worker_client
from netvps.gateway.worker import server as worker_socket
from netvps.gateway.worker import wire
from netvps.gateway.worker.client import ControlPlane
from netvps.gateway.worker.server import WorkerSocket
from netvps.services.network.gateway_location import Route
from tests.gateway.conftest import UID, FakePlace, Sshd, World, a_world, run
from tests.gateway.ssh import test_gateway as a_gateway
from tests.support.patience import PATIENCE


@pytest.fixture
async def apart(sshd: Sshd, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(sshd, tmp_path, apart=True) as made:
        yield made


def plane_of(world: World) -> ControlPlane:
    assert isinstance(world.gateway._authorizer, ControlPlane)
    return world.gateway._authorizer


def worker_of(world: World) -> WorkerSocket:
    assert world.worker is not None
    return world.worker


@pytest.mark.parametrize(
    "same",
    [
        a_gateway.test_half_close,
        a_gateway.test_a_stalled_reader_stalls_the_sender_and_not_memory,
        a_gateway.test_a_stalled_session_stalls_the_client_and_not_memory,
        a_gateway.test_the_session_dying_midway_says_so,
        a_gateway.test_a_removed_key_ends_its_connections_and_no_others,
        a_gateway.test_who_lost_access_is_out_without_a_word_of_the_agent,
        a_gateway.test_a_stopped_session_says_so,
        a_gateway.test_many_connections_at_once,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
async def test_it_is_the_same_gateway(apart: World, same: object) -> None:
    await same(apart)  # type: ignore[operator]


def test_on_uvloop_as_the_programs_run(sshd: Sshd, tmp_path: Path) -> None:
    data = os.urandom(20 << 20)

    async def up_and_down() -> None:
        async with a_world(sshd, tmp_path, rekey_bytes=4 << 20, apart=True) as world:
            ran = await run(world.ssh("cat; exit 3"), data)
            assert (ran.code, ran.out == data) == (3, True)
            await a_gateway.test_a_stalled_reader_stalls_the_sender_and_not_memory(world)
            await world.agent.until(lambda: not world.tunnels.dial_backs)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(up_and_down())


async def test_errors_of_the_control_plane_arrive(apart: World) -> None:
    with pytest.raises(NotFound, match="there is no session dev1 of yours"):
        await plane_of(apart).authorize(SshLogin("dev1", None, "root"), "SHA256:nobody")


async def test_an_agent_that_is_not_there_is_said_to_who_dials(apart: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.gateway.tunnel.tunnels.CONNECT_TIMEOUT", 0.05)
    with pytest.raises(Unavailable, match="agent is not connected"):
        await plane_of(apart).open("0" * 13, SshTarget(), "test")


async def test_who_gives_up_dialling_leaves_nothing_behind(apart: World) -> None:
    apart.agent.mute = True
    dial = asyncio.get_running_loop().create_task(plane_of(apart).open(UID, SshTarget(), "test"))
    await apart.agent.until(lambda: bool(apart.agent.requests))
    dial.cancel()
    (agent,) = apart.tunnels._agents.values()
    await apart.agent.until(lambda: not agent._dials)


async def test_places_on_the_overlay_and_silent_agents_are_reported(sshd: Sshd, tmp_path: Path) -> None:
    async with a_world(sshd, tmp_path, apart=True, place=FakePlace("127.0.0.9")) as world:
        plane = plane_of(world)
        assert await plane.locate(UID) == Route("127.0.0.1", "127.0.0.9", epoch=1)
        others = [f"{number:013}" for number in range(1200)]
        assert await plane.unwatched([UID, *others]) == set(others)


async def test_counts_and_durations_arrive(apart: World) -> None:
    seen: list[tuple[str, str]] = []
    worker = worker_of(apart)
    reporting = asyncio.get_running_loop().create_task(plane_of(apart).report(lambda: (3, 2)))
    with timing.observe_durations(lambda step, which, _seconds: seen.append((step, which))):
        plane_of(apart).observe_duration("gateway_login", "joined", 0.1)
        plane_of(apart).observe_duration("http_request", "2xx", 0.1)
        await apart.agent.until(lambda: (worker.connections, worker.unauthenticated, len(seen)) == (3, 2, 2))
    reporting.cancel()
    assert seen == [("gateway_login", "joined"), ("http_request", "2xx")]


async def test_events_for_the_audit_log_arrive(apart: World) -> None:
    events: list[AuditEvent] = []
    worker_of(apart).audit = events.append
    sent = AuditEvent("alice", "192.0.2.1:1", "ssh.end", "sessions/dev1.alice", details=(("sent_bytes", "9"),))
    plane_of(apart).audit(sent)
    await apart.agent.until(lambda: events == [sent])


async def test_without_the_control_plane_everything_fails_at_once(apart: World) -> None:
    plane = plane_of(apart)
    asking = asyncio.get_running_loop().create_task(plane.authorize(SshLogin("dev1", None, "root"), "x"))
    worker_of(apart).dismiss()
    with pytest.raises(Unavailable, match="the server is restarting"):
        await asking
    await asyncio.wait_for(plane.lost.wait(), PATIENCE)
    with pytest.raises(Unavailable, match="the server is restarting"):
        await plane.locate(UID)


async def test_a_server_that_hangs_is_given_up(apart: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_client, "ANSWER_SECONDS", 0.05)
    apart.authorizer.ready.clear()

    async def never(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(apart.authorizer, "authorize", never)
    with pytest.raises(Unavailable, match="did not answer within"):
        await plane_of(apart).authorize(SshLogin("dev1", None, "root"), "x")


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\2{}",
        wire.encode(wire.Opened()),
        wire.encode(wire.Control(1)) + wire.encode(wire.Control(1)),
        wire.encode(wire.Dial(UID, "test")) + b"early",
        wire.encode(wire.Control(1)) + b"\xff\xff\xff\xff",
    ],
)
async def test_what_is_no_gateway_process_is_cut_off(apart: World, said: bytes) -> None:
    apart.agent.mute = True
    reader, writer = await asyncio.open_unix_connection(plane_of(apart)._path)
    writer.write(said)
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            await reader.read()
    writer.transport.abort()


async def test_who_says_nothing_is_cut_off(apart: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_socket, "FIRST_MESSAGE", 0.05)
    reader, writer = await asyncio.open_unix_connection(plane_of(apart)._path)
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    writer.transport.abort()


async def test_who_reads_nothing_is_cut_off(apart: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_socket, "UNSENT", 1 << 16)
    worker = worker_of(apart)
    _, writer = await asyncio.open_unix_connection(plane_of(apart)._path, limit=1)
    writer.write(wire.encode(wire.Control(1)))
    await apart.agent.until(lambda: sum(each.is_control for each in worker._connections) == 2)
    (deaf,) = (each for each in worker._connections if each._decoder.rest == b"" and each.pid == 1)
    for _ in range(50_000):
        deaf.send(wire.AgentConfigured(UID))
    await apart.agent.until(lambda: deaf not in worker._connections)
    writer.transport.abort()


async def test_many_streams_that_come_at_once_are_let_in(apart: World) -> None:
    """No turn of the event loop accepts one before all have come."""
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            one.connect(str(plane_of(apart)._path))


async def test_a_folder_that_others_may_enter_is_refused(apart: World, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    welcome, path = wire.Welcome("", "", "", 1, 1, ""), tmp_path / "open" / "s"
    socket = WorkerSocket(path, apart.authorizer, apart.tunnels, None, welcome, tickets=apart.tickets)
    with pytest.raises(ConfigError, match="mode 0700"):
        await socket.__aenter__()


async def test_no_server_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="the server does not answer"):
        await ControlPlane(tmp_path / "s").__aenter__()


async def test_a_key_of_the_gateway_is_certified(apart: World) -> None:
    plane = plane_of(apart)
    (fingerprint,) = apart.authorizer.keys
    grant = await plane.authorize(SshLogin("dev1", None, "root"), fingerprint)
    assert (grant.session.uid, str(grant.session.full_name), grant.user) == (UID, "dev1.alice", "alice")
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    assert (await plane.certify(grant, key)).startswith("ssh-ed25519-cert")


async def test_a_token_of_a_terminal_ui_ends_when_it_is_revoked_and_with_the_process(apart: World) -> None:
    plane, tokens = plane_of(apart), worker_of(apart).ui_tokens
    first, second = await plane.mint_token("alice"), await plane.mint_token("bob")
    assert (tokens.user_of(first), tokens.user_of(second)) == ("alice", "bob")
    plane.revoke_token(first)
    assert await plane.unwatched(()) == set()
    await plane.mint_token("carol")  # answered after the revocation
    with pytest.raises(Unauthenticated):
        tokens.user_of(first)
    worker_of(apart).dismiss()
    await plane.lost.wait()
    async with asyncio.timeout(PATIENCE):
        while tokens._users:
            await asyncio.sleep(0.01)
