"""The states of a connection, what ends it, and what is reported of it (netvps.gateway.ssh.events)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from netvps.domain.access.audit import AuditEvent
from netvps.domain.session.session import DesiredState
from netvps.gateway.ssh import gateway as gateway_ssh
from netvps.gateway.ssh.connection import State
from netvps.gateway.ssh.gateway import SshGateway
from netvps.gateway.ssh.listener import listen_at
from tests.gateway.conftest import Sshd, World, a_world, new_key, run
from tests.support.patience import PATIENCE


async def connected(world: World) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1", world.gateway.port, username="dev1", client_keys=[str(world.key)], known_hosts=None, config=None
    )


async def test_a_connection_goes_from_login_to_its_end(world: World) -> None:
    world.agent.mute = True
    _, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    await world.agent.until(lambda: bool(world.gateway._unauthenticated))
    (stranger,) = world.gateway._unauthenticated
    assert stranger.state is State.LOGIN
    client = await connected(world)
    (connection,) = world.gateway._connections
    await world.agent.until(lambda: bool(world.agent.requests))
    assert connection.state is State.DIALLING
    client.abort()
    await world.agent.until(lambda: connection.state is State.ENDED)
    assert connection.upstream is None
    world.agent.mute = False
    async with await connected(world) as client:
        await client.run("true")
        (connection,) = world.gateway._connections
        assert connection.state is State.JOINED
    await world.agent.until(lambda: connection.state is State.ENDED)
    assert connection.upstream
    await asyncio.wait_for(connection.upstream.wait_closed(), PATIENCE)
    writer.transport.abort()
    await world.agent.until(lambda: stranger.state is State.ENDED)
    assert (world.gateway.connections, world.gateway.unauthenticated) == (0, 0)


async def test_a_removed_key_ends_a_connection_that_no_agent_is_notified_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_ssh, "REVIEW_EVERY", 0.05)
    async with (
        SshGateway(
            world.authorizer,
            world.dialer,
            world.agent_login,
            sock=listen_at("127.0.0.1", 0),
            host_key=asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode(),
            user_ca=world.authorizer.user_ca.export_public_key().decode(),
        ) as gateway,
        asyncssh.connect(
            "127.0.0.1", gateway.port, username="dev1", client_keys=[str(world.key)], known_hosts=None, config=None
        ) as client,
    ):
        assert (await client.run("echo in")).stdout == "in\n"
        world.agent.control.cancel()
        await world.agent.until(lambda: not world.tunnels.controls)
        assert (await client.run("echo still in")).stdout == "still in\n"
        world.authorizer.keys.clear()
        await asyncio.wait_for(client.wait_closed(), PATIENCE)


async def test_a_login_resumes_a_paused_session_and_says_so(world: World) -> None:
    world.authorizer.session = replace(world.authorizer.session, desired=DesiredState.PAUSED)
    ran = await asyncio.gather(*(run(world.ssh("echo up")) for _ in range(3)))
    assert [(each.code, each.out) for each in ran] == [(0, b"up\n")] * 3
    assert all(b"netvps: session dev1 is paused: resuming it\r\n" in each.err for each in ran)
    assert world.authorizer.woken == [(world.authorizer.session.uid, "alice")] * 3


async def test_a_key_that_opens_nothing_wakes_nothing(world: World) -> None:
    world.authorizer.session = replace(world.authorizer.session, desired=DesiredState.PAUSED)
    stranger = new_key(world.folder / "stranger")
    assert (await run(world.ssh("true", key=stranger))).code == 255
    assert world.authorizer.woken == []


async def test_a_paused_session_that_cannot_be_resumed_is_explained(world: World) -> None:
    world.authorizer.session = replace(world.authorizer.session, desired=DesiredState.PAUSED)
    world.authorizer.cannot_wake = "it is paused, and its runner lab1 is offline: try again when that returns"
    ran = await run(world.ssh("true"))
    assert ran.code == 255
    assert b"session dev1 cannot be reached: it is paused, and its runner lab1 is offline" in ran.err


async def test_login_and_end_are_events_of_the_audit_log_with_bytes(world: World) -> None:
    events: list[AuditEvent] = []
    world.gateway.audit = events.append
    assert (await run(world.ssh("head -c 1000 /dev/zero"))).code == 0
    await world.agent.until(lambda: len(events) == 2)
    login, end = events
    assert (login.action, login.actor, login.target) == ("ssh.login", "alice", "sessions/dev1.alice")
    assert login.origin.startswith("127.0.0.1:")
    assert {"key", "unix_user", "client"} <= dict(login.details).keys()
    assert end.action == "ssh.end"
    assert int(dict(end.details)["sent_bytes"]) > 1000


async def test_refusals_are_events_of_the_audit_log(sshd: Sshd, tmp_path: Path) -> None:
    events: list[AuditEvent] = []
    async with a_world(sshd, tmp_path, audit=events.append) as world:
        assert (await run(world.ssh("true", login="nosuch"))).code == 255
        await world.agent.until(lambda: bool(events))
    (refused,) = events
    assert (refused.action, refused.actor, refused.outcome) == ("ssh.refused", "", "no accepted key")
    assert dict(refused.details)["login"] == "nosuch"
