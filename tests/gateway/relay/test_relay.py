"""All that stock clients do, again, through the relay; and its faults."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from asyncssh.packet import Boolean, String

from netvps.gateway.relay.relay import Relay
from netvps.gateway.ssh.relayed import Relayed
from netvps.process.agent_program import agent_program
from tests.gateway.conftest import FakePlace, Ran, Sshd, World, a_world, run
from tests.gateway.ssh import test_gateway as clients
from tests.gateway.ssh.test_pipe import Client, connect
from tests.support.patience import PATIENCE

MIB = 1 << 20
SAME = (
    clients.test_death_by_signal_arrives,
    clients.test_half_close,
    clients.test_terminal_with_its_size,
    clients.test_rsync_both_ways,
    clients.test_local_forward_with_half_close,
    clients.test_remote_forward_with_half_close,
    clients.test_unix_socket_forward,
    clients.test_agent_forwarding,
    clients.test_control_master,
    clients.test_dropbear_client,
    clients.test_plink,
    clients.test_the_session_dying_midway_says_so,
    clients.test_a_stalled_session_stalls_the_client_and_not_memory,
    clients.test_many_connections_at_once,
    clients.test_a_removed_key_ends_its_connections_and_no_others,
    clients.test_stop_waits_and_then_ends_with_a_reason,
)


@pytest.fixture
async def relayed(sshd: Sshd, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(sshd, tmp_path, apart=True, relay=agent_program()) as world:
        yield world


async def handed_over(world: World) -> None:
    """Waits until the relay has the only connection."""

    def has_it() -> bool:
        sides: list[Relayed] = [each.downstream for each in world.gateway._connections]
        return [side.is_relayed for side in sides] == [True]

    await world.agent.until(has_it)


@pytest.mark.parametrize("test", SAME, ids=lambda test: test.__name__)
async def test_clients_notice_no_difference(test: Callable[[World], Awaitable[Any]], relayed: World) -> None:
    await test(relayed)


@pytest.mark.parametrize(
    ("cipher", "mac"),
    [
        ("aes128-gcm@openssh.com", ""),
        ("chacha20-poly1305@openssh.com", ""),
        ("aes128-ctr", "hmac-sha2-256"),
        ("aes192-ctr", "hmac-sha1-etm@openssh.com"),
        ("aes256-ctr", "hmac-sha2-512-etm@openssh.com"),
    ],
)
async def test_ciphers_are_gone_on_with_and_keys_renewed(sshd: Sshd, tmp_path: Path, cipher: str, mac: str) -> None:
    data = os.urandom(4 * MIB)
    async with a_world(sshd, tmp_path, rekey_bytes=MIB, apart=True, relay=agent_program()) as world:
        options = ("-v", "-o", "RekeyLimit=700K", "-c", cipher, *(("-m", mac) if mac else ()))
        running = asyncio.create_task(run(world.ssh("cat; exit 3", options=options), data))
        await handed_over(world)
        ran = await running
    assert (ran.code, ran.out == data) == (3, True)
    assert ran.err.count(b"SSH2_MSG_NEWKEYS received") > 4


def test_over_the_overlay_on_the_programs_loop(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import functools

    from netvps.gateway.tunnel import dialer, overlay_stream

    monkeypatch.setattr(dialer, "connect", functools.partial(overlay_stream.connect, port=sshd.port))
    data = os.urandom(40 * MIB)

    async def both_ways() -> Ran:
        place = FakePlace()
        async with a_world(sshd, tmp_path, rekey_bytes=2 * MIB, place=place, relay=agent_program()) as world:
            await world.agent.__aexit__()
            running = asyncio.create_task(run(world.ssh("-o", "RekeyLimit=1M", "cat; exit 3"), data))
            await handed_over(world)
            return await running

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ran = runner.run(both_ways())
    assert (ran.code, ran.out == data) == (3, True)


async def test_bytes_are_counted(relayed: World) -> None:
    process = await asyncio.create_subprocess_exec(
        *relayed.ssh("cat"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"x" * MIB)
    await process.stdout.readexactly(MIB)
    (connection,) = relayed.gateway._connections
    assert connection.downstream.is_relayed
    process.stdin.close()
    await process.wait()
    await relayed.agent.until(lambda: not relayed.gateway.connections)
    assert connection.upstream is not None
    assert MIB < connection.downstream.passed < MIB + 2000
    assert MIB < connection.upstream.passed < MIB + 2000


async def test_when_the_relay_dies_its_connections_end_and_the_next_is_served(relayed: World) -> None:
    process = await asyncio.create_subprocess_exec(
        *relayed.ssh("echo up; sleep 60"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    await handed_over(relayed)
    assert relayed.relay is not None
    pid = relayed.relay.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 255
    await relayed.agent.until(lambda: not relayed.gateway.connections)
    assert (await run(relayed.ssh("exit 7"))).code == 7
    await relayed.agent.until(lambda: relayed.relay is not None and relayed.relay.pid not in {None, pid})


@pytest.mark.parametrize("program", ["/nonexistent", "/bin/true"])
async def test_without_a_relay_the_gateway_passes_messages_itself(sshd: Sshd, tmp_path: Path, program: str) -> None:
    async with a_world(sshd, tmp_path, apart=True, relay=Path(program)) as world:
        process = await asyncio.create_subprocess_exec(
            *world.ssh("head -c 3; exit 3"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        await world.agent.until(lambda: any(each.upstream for each in world.gateway._connections))
        (connection,) = world.gateway._connections
        out, _ = await process.communicate(b"abc")
        assert out == b"abc"
        assert (process.returncode, connection.downstream.is_relayed) == (3, False)


async def test_its_end_ends_the_process() -> None:
    async with Relay(agent_program()) as relay:
        pid = relay.pid
        assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_what_the_client_sends_before_the_session_is_there_comes_first(relayed: World) -> None:
    """The client speaks at once, and the rest of what it said is handed over with the connection."""
    client = await connect(relayed, Client, client_keys=[str(relayed.key)])
    await client._options.waiter  # type: ignore[misc]
    for number in range(100):
        client.send_packet(80, String(b"unknown-%d" % number), Boolean(False))
    ran = await asyncio.wait_for(client.run("cat; exit 4", input="hello"), PATIENCE)
    assert (ran.exit_status, ran.stdout) == (4, "hello")
    client.abort()
    await client.wait_closed()


async def test_a_client_that_breaks_the_protocol_is_ended_with_the_reason(relayed: World) -> None:
    client = await connect(relayed, Client, client_keys=[str(relayed.key)], encryption_algs=["aes128-gcm@openssh.com"])
    await client._options.waiter  # type: ignore[misc]
    assert (await client.run("true")).exit_status == 0
    await handed_over(relayed)
    (connection,) = relayed.gateway._connections
    assert client._transport is not None
    client._transport.write(b"\xff" * 64)
    async with asyncio.timeout(PATIENCE):
        await client.wait_closed()
    await relayed.agent.until(lambda: not relayed.gateway.connections)
    assert "Max packet size exceeded" in str(connection.downstream.lost)


async def test_a_reader_that_stalls_costs_bounded_memory(relayed: World) -> None:
    process = await asyncio.create_subprocess_exec(
        *relayed.ssh("-o", "IPQoS=none", "cat /dev/zero"), stdout=asyncio.subprocess.PIPE, limit=MIB
    )
    assert process.stdout is not None
    await process.stdout.readexactly(4 * MIB)
    assert relayed.relay is not None
    process.send_signal(signal.SIGSTOP)
    try:
        (connection,) = relayed.gateway._connections
        assert connection.upstream is not None
        before = -1
        async with asyncio.timeout(PATIENCE):
            while before != connection.upstream.passed:
                before = connection.upstream.passed
                await asyncio.sleep(1.2)
        status = Path(f"/proc/{relayed.relay.pid}/status").read_text(encoding="utf-8")
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
        assert resident < 24 * 1024
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        await process.wait()
