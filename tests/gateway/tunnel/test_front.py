"""Direct connections of agents: all that stock clients do, again, through the process before the tunnel's port."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from netvps.domain.tunnel import SshTarget
from netvps.gateway.tunnel.front import DirectConnection
from netvps.process.agent_program import agent_program
from tests.gateway.conftest import UID, Sshd, World, a_world, run
from tests.gateway.fronted import FrontedAgent, fronted
from tests.gateway.ssh import test_gateway as clients
from tests.support.patience import PATIENCE

MIB = 1 << 20
SAME = (
    clients.test_half_close,
    clients.test_rsync_both_ways,
    clients.test_local_forward_with_half_close,
    clients.test_control_master,
    clients.test_dropbear_client,
    clients.test_the_session_dying_midway_says_so,
    clients.test_a_stalled_reader_stalls_the_sender_and_not_memory,
    clients.test_a_stalled_session_stalls_the_client_and_not_memory,
    clients.test_many_connections_at_once,
    clients.test_a_removed_key_ends_its_connections_and_no_others,
)


@pytest.fixture
async def direct(sshd: Sshd, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(sshd, tmp_path, apart=True, relay=agent_program()) as world, fronted(world):
        yield world


def fronted_agent(world: World) -> FrontedAgent:
    assert isinstance(world.agent, FrontedAgent)
    return world.agent


@pytest.mark.parametrize("test", SAME, ids=lambda test: test.__name__)
async def test_clients_notice_no_difference(test: Callable[[World], Awaitable[Any]], direct: World) -> None:
    await test(direct)
    assert fronted_agent(direct).direct
    await direct.agent.until(lambda: not direct.tunnels.dial_backs)


def test_bytes_both_ways_on_the_loop_of_the_programs(sshd: Sshd, tmp_path: Path) -> None:
    data = os.urandom(20 * MIB)

    async def up_and_down() -> None:
        async with (
            a_world(sshd, tmp_path, rekey_bytes=4 * MIB, apart=True, relay=agent_program()) as world,
            fronted(world),
        ):
            ran = await run(world.ssh("cat; exit 3"), data)
            assert (ran.code, ran.out == data) == (3, True)
            assert fronted_agent(world).direct == 1
            await world.agent.until(lambda: not world.tunnels.dial_backs)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(up_and_down())


async def test_several_transfers_at_once_all_end(direct: World) -> None:
    data = os.urandom(16 * MIB)
    ran = await asyncio.gather(*(run(direct.ssh("cat"), data) for _ in range(4)))
    assert [(each.code, each.out == data) for each in ran] == [(0, True)] * 4


async def test_when_the_process_dies_its_connections_end_and_the_next_is_served(direct: World) -> None:
    process = await asyncio.create_subprocess_exec(
        *direct.ssh("echo up; sleep 60"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    front = fronted_agent(direct).front
    pid = front.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 255
    await direct.agent.until(lambda: not direct.tunnels.dial_backs)
    assert (await run(direct.ssh("exit 7"))).code == 7
    await direct.agent.until(lambda: front.pid not in {None, pid})
    await direct.agent.until(lambda: direct.tunnels.direct)
    assert (await run(direct.ssh("exit 8"))).code == 8


async def test_an_agent_that_cannot_connect_directly_answers_with_a_stream(direct: World) -> None:
    fronted_agent(direct).cannot = True
    assert (await run(direct.ssh("exit 7"))).code == 7
    assert not fronted_agent(direct).direct


@pytest.mark.parametrize("case", ["unknown dial", "used dial", "other epoch", "a runner"])
async def test_connections_without_a_dial_are_refused(direct: World, case: str) -> None:
    agent = fronted_agent(direct)
    agent.mute = True
    dialling = asyncio.create_task(direct.tunnels.open_direct(UID, SshTarget(), "test"))
    await agent.until(lambda: bool(agent.requests))
    dial_id = agent.requests[-1].dial_id
    uris = {"other epoch": f"netvps://session/{UID}/epoch/2", "a runner": f"netvps://runner/{UID}"}
    if case == "used dial":
        first = asyncio.create_task(agent.connect_directly(dial_id))
        assert isinstance(await dialling, DirectConnection)
        first.cancel()
    wrong = "x" * 22 if case == "unknown dial" else dial_id
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)):
        await agent.connect_directly(wrong, uris.get(case))
    dialling.cancel()


async def test_who_gives_up_dialling_leaves_nothing_behind(direct: World) -> None:
    agent = fronted_agent(direct)
    agent.mute = True
    dialling = asyncio.create_task(direct.tunnels.open_direct(UID, SshTarget(), "test"))
    await agent.until(lambda: bool(agent.requests))
    dialling.cancel()
    await asyncio.wait([dialling])
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)):
        await agent.connect_directly(agent.requests[-1].dial_id)
    assert not direct.tunnels.dial_backs


async def test_a_session_that_moved_loses_its_connections(direct: World) -> None:
    process = await asyncio.create_subprocess_exec(
        *direct.ssh("echo up; sleep 60"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    async with FrontedAgent(direct.tunnels, UID, direct.agent.port, fronted_agent(direct).front, epoch=2):
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 255


async def test_the_end_ends_the_process_and_the_port_is_free(sshd: Sshd, tmp_path: Path) -> None:
    async with a_world(sshd, tmp_path, apart=True) as world:
        async with fronted(world):
            front = fronted_agent(world).front
            pid, port = front.pid, fronted_agent(world).front_port
            assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
