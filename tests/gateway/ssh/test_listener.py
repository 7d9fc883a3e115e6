"""Connections that are served, wait for a place, or are refused with a reason and a line in the log."""

from __future__ import annotations

import asyncio
import ipaddress
import resource
import socket
from pathlib import Path

import asyncssh
import pytest
import structlog
import uvloop

from netvps.domain.access import refusal_log
from netvps.domain.access.admission import Admission, Limits
from netvps.gateway.ssh import listener as ssh_listener
from tests.conftest import FULL
from tests.gateway.conftest import Sshd, World, a_world, run

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def silent(world: World) -> Peer:
    return await asyncio.open_connection("127.0.0.1", world.gateway.port)


async def close(*peers: Peer) -> None:
    for _, writer in peers:
        writer.transport.abort()


async def test_too_many_of_an_address_wait_and_then_get_in(sshd: Sshd, tmp_path: Path) -> None:
    async with a_world(sshd, tmp_path, admission=Admission(Limits(served_per_source=1))) as world:
        first = await silent(world)
        await first[0].readline()
        login = asyncio.get_running_loop().create_task(run(world.ssh("echo in")))
        await world.agent.until(lambda: world.gateway._listener.waiting == 1)
        assert world.gateway.unauthenticated == 2
        await close(first)
        assert (await login).out == b"in\n"


async def test_who_waits_too_long_is_refused(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_listener, "WAIT_SECONDS", 0.05)
    async with a_world(sshd, tmp_path, admission=Admission(Limits(served_per_source=1))) as world:
        first, second = await silent(world), await silent(world)
        assert (await second[0].read()).startswith(b"Exceeded MaxStartups: ")
        await close(first, second)


async def test_failures_are_refused_and_the_log_names_the_address(sshd: Sshd, tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with a_world(sshd, tmp_path, admission=Admission(Limits(handshakes=2))) as world:
            for _ in range(3):
                ran = await run(world.ssh("true", login="nosuch"))
                assert ran.code == 255
            peer = await silent(world)
            said = await peer[0].read()
            assert said.startswith(b"Exceeded MaxStartups: too many connections that did not log in: try again in 1")
            await close(peer)
            (summary,) = world.gateway._listener._refusals.summary()
    refused = [line for line in lines if line["event"] == "ssh refused"]
    assert [line["address"] for line in refused] == ["127.0.0.1"]
    assert (refused[0]["reason"], refused[0]["login"]) == ("no accepted key", "nosuch")
    assert summary == refusal_log.Refusals("127.0.0.1", 3)


@pytest.mark.parametrize("addresses", [5, 5000])
async def test_half_open_connections_keep_no_one_out(sshd: Sshd, tmp_path: Path, addresses: int) -> None:
    """10,000 with NETVPS_FULL=1; those of others than the flood's addresses get in as soon as they come."""
    count = 10_000 if FULL else 1000
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 3 * count + 1000), before[1]))
    loop, peers = asyncio.get_running_loop(), []
    try:
        async with a_world(sshd, tmp_path) as world:
            for number in range(count):
                sock = socket.socket()
                sock.setblocking(False)
                peers.append(sock)
                sock.bind((str(ipaddress.ip_address("127.1.0.0") + number % addresses), 0))
                await loop.sock_connect(sock, ("127.0.0.1", world.gateway.port))
            for _ in range(3):
                assert (await run(world.ssh("echo in"))).out == b"in\n"
            admission = world.gateway._listener._admission
            assert admission.served <= Limits().full
            assert admission.waiting <= Limits().waiting
            for sock in peers:
                sock.close()
            await world.agent.until(lambda: world.gateway.unauthenticated == 0)
    finally:
        for sock in peers:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_refusals_are_summed_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_listener, "INTERVAL", 0.01)
    listener = world.gateway._listener
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            listener.note_refusal("192.0.2.1", "test")
        summing = asyncio.get_running_loop().create_task(listener.log_summaries())
        await asyncio.sleep(0.05)
        summing.cancel()
    assert [line["event"] for line in lines] == ["ssh refused", "ssh refused more"]
    assert lines[1]["count"] == 2


async def test_a_hundred_logins_in_a_row_are_no_reason_to_refuse(sshd: Sshd, tmp_path: Path) -> None:
    async with a_world(sshd, tmp_path, admission=Admission(Limits(handshakes=2, served_per_source=2))) as world:

        async def login() -> None:
            async with asyncssh.connect(
                "127.0.0.1",
                world.gateway.port,
                username="dev1",
                client_keys=[str(world.key)],
                known_hosts=None,
                config=None,
            ):
                pass

        for _ in range(5):
            await asyncio.gather(*(login() for _ in range(6)))


def test_waiting_works_on_uvloop_as_the_programs_run(sshd: Sshd, tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_too_many_of_an_address_wait_and_then_get_in(sshd, tmp_path))
