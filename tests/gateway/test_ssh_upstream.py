"""The gateway's own logins: whom it trusts."""

from __future__ import annotations

from dataclasses import replace

import asyncssh
import pytest
from asyncssh import SSHClientConnection

from netvps.domain.tunnel import Eof, Reset, SshTarget
from netvps.errors import Unavailable
from netvps.gateway.dial_stream import DialStream
from netvps.gateway.ssh_upstream import Upstream
from netvps.services.logins import Grant
from tests.gateway.conftest import UID, World


async def test_a_host_certified_by_another_ca_is_not_talked_to(world: World) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    stream = await world.tunnels.open(UID, SshTarget(), "test")
    with pytest.raises(Unavailable, match="did not let the gateway in: Host CA key is not trusted"):
        await Upstream(world.doorman, stranger).login(
            stream, Grant(world.doorman.session, "root", "alice"), SSHClientConnection
        )
    assert stream.is_closing()


async def test_another_session_is_not_taken_for_this_one(world: World) -> None:
    other = replace(world.doorman.session, uid="another")
    stream = await world.tunnels.open(UID, SshTarget(), "test")
    with pytest.raises(Unavailable, match="Certificate principal mismatch"):
        await world.upstream.login(stream, Grant(other, "root", "alice"), SSHClientConnection)


async def test_a_stream_that_breaks_before_the_login_is_dialled_once_more(world: World) -> None:
    grant = Grant(world.doorman.session, "root", "alice")
    dialled = []

    async def dial() -> DialStream:
        stream = await world.tunnels.open(UID, SshTarget(), "test")
        dialled.append(stream)
        if len(dialled) == 1:
            stream.receive(Eof())  # as an agent does that ends
        return stream

    connection = await world.upstream.reach(dial, grant, SSHClientConnection)
    connection.abort()
    assert len(dialled) == 2


async def test_a_stream_that_breaks_each_time_is_given_up(world: World) -> None:
    dialled = []

    async def dial() -> DialStream:
        stream = await world.tunnels.open(UID, SshTarget(), "test")
        dialled.append(stream)
        stream.receive(Reset("gone"))
        return stream

    with pytest.raises(Unavailable, match="did not let the gateway in"):
        await world.upstream.reach(dial, Grant(world.doorman.session, "root", "alice"), SSHClientConnection)
    assert len(dialled) == 2
