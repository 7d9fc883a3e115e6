"""Snapshots of a session through the gateway, with OpenSSH's sftp, from a runner's SFTP server.

So it is the test of the part of netvps.gateway.worker that connects the two, and of netvps.gateway.wake.confirmed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import asyncssh
import pytest

from netvps.domain.session.session import ChangeCause, SessionState
from netvps.domain.sleep.waking import LoginKind
from netvps.errors import Unavailable
from tests.fakes.snapshots import Snapshots
from tests.gateway.conftest import Ran, Sshd, World, a_world, run
from tests.gateway.wake.test_wakes import stop
from tests.rpc.site import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def apart(sshd: Sshd, tmp_path: Path) -> AsyncIterator[World]:
    """The gateway in a process's place, with the socket between it and the control plane."""
    async with a_world(sshd, tmp_path, apart=True) as made:
        yield made


async def sftp(world: World, *lines: str, login: str = "dev1") -> Ran:
    argv = ["sftp", "-b", "-", "-P", str(world.gateway.port), *world.ssh_options(), f"{login}@127.0.0.1"]
    return await run(argv, "".join(f"{line}\n" for line in lines).encode())


def shows(world: World, snapshots: Snapshots) -> Snapshots:
    assert world.worker is not None
    world.worker.browse = snapshots.browse
    return snapshots


@pytest.mark.parametrize("state", [SessionState.STOPPED, SessionState.FAILED, SessionState.STOPPING])
async def test_of_a_session_that_does_not_run_snapshots_are_read(
    apart: World, tmp_path: Path, state: SessionState
) -> None:
    content = os.urandom(2 << 20)
    snapshots = shows(apart, Snapshots(content))
    apart.set_state(state)
    ran = await sftp(apart, "ls /.snapshots", f"get /.snapshots/before/file {tmp_path}/file")
    assert ran.code == 0, ran
    assert b"/.snapshots/before" in ran.out
    assert (tmp_path / "file").read_bytes() == content
    assert snapshots.asked == [("alice", "dev1.alice")]
    assert not apart.agent.requests
    await soon(lambda: snapshots.open == 0)


async def test_of_one_that_runs_they_are_read_with_a_login_for_that(apart: World, tmp_path: Path) -> None:
    shows(apart, Snapshots())
    ran = await sftp(apart, f"get /.snapshots/before/file {tmp_path}/file", login="dev1+.snapshots")
    assert ran.code == 0, ran
    assert (tmp_path / "file").read_bytes() == b"abc"
    assert not apart.agent.requests
    ran = await run(apart.ssh("true", login="dev1+.snapshots"))
    assert (ran.code, b"has no shell; its snapshots are at /.snapshots" in ran.err) == (255, True)


async def test_a_login_to_a_stopped_session_says_so_and_what_can_be_read(apart: World) -> None:
    shows(apart, Snapshots())
    apart.set_state(SessionState.STOPPED)
    for command in (("true",), ()):
        ran = await run(apart.ssh(*command))
        assert ran.code == 255
        assert b"session dev1 is STOPPED: start it with: netvps start dev1; its snapshots are at /.sn" in ran.err
    ran = await run(apart.ssh("-N", options=("-o", "ExitOnForwardFailure=yes", "-W", "127.0.0.1:22")))
    assert ran.code == 255


async def test_sftp_reads_snapshots_of_what_a_person_stopped_and_starts_nothing(apart: World, tmp_path: Path) -> None:
    """The login has a channel already that the gateway confirmed, to see whether it wants a terminal."""
    content = os.urandom(3 << 20)
    snapshots = shows(apart, Snapshots(content))
    stop(apart, ChangeCause.PERSON)
    for _ in range(2):
        ran = await sftp(apart, "ls /.snapshots", f"get /.snapshots/before/file {tmp_path}/file")
        assert ran.code == 0, ran
        assert (tmp_path / "file").read_bytes() == content
    assert apart.authorizer.woken == []
    assert not apart.agent.requests
    await soon(lambda: snapshots.open == 0)
    refused = await run(apart.ssh("true"))
    assert (refused.code, b"log in as wake+dev1" in refused.err) == (255, True)
    async with (
        asyncssh.connect(
            "127.0.0.1",
            apart.gateway.port,
            username="dev1",
            client_keys=[str(apart.key)],
            known_hosts=None,
            config=None,
        ) as client,
        client.start_sftp_client() as first,
        client.start_sftp_client() as second,
    ):
        assert await first.listdir("/.snapshots") == await second.listdir("/.snapshots")


async def test_sftp_starts_what_netvps_stopped(apart: World) -> None:
    shows(apart, Snapshots())
    stop(apart, ChangeCause.IDLE)
    ran = await sftp(apart, "ls /")
    assert ran.code == 0, ran
    assert apart.authorizer.kinds == [LoginKind.PLAIN]


async def test_an_error_of_the_runner_is_said(apart: World) -> None:
    shows(apart, Snapshots(error=Unavailable("the runner box1 is offline: try again when it is back")))
    apart.set_state(SessionState.STOPPED)
    ran = await sftp(apart, "ls /.snapshots")
    assert ran.code == 255
    assert b"the snapshots of session dev1 cannot be read: the runner box1 is offline" in ran.err
