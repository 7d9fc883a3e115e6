"""The gateway's own logins: whom it trusts."""

from __future__ import annotations

from dataclasses import replace

import asyncssh
import pytest
from asyncssh import SSHClientConnection

from netvps.domain.tunnel import SshTarget
from netvps.errors import Unavailable
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
