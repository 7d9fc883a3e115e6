"""Datagrams over a program's standard input and output: here one that answers each frame."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from netvps.cli.access import udp_relay
from netvps.cli.access.udp_relay import Flows, relay
from netvps.errors import ConfigError
from tests.e2e.system import free_ports
from tests.support.patience import PATIENCE

ANSWERS = """
import sys
while head := sys.stdin.buffer.read(8):
    data = sys.stdin.buffer.read(int.from_bytes(head[6:]))
    sys.stdout.buffer.write(head[:6] + (len(data) + 6).to_bytes(2) + b"answer" + data)
    sys.stdout.buffer.flush()
    if data == b"end":
        sys.exit(7)
"""
ARGV = (sys.executable, "-c", ANSWERS)


async def test_each_peer_gets_its_own_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_relay, "FLOWS", 2)
    port = free_ports()["http"]
    relaying = asyncio.create_task(relay(ARGV, "127.0.0.1", [(port, 53)]))
    loop = asyncio.get_running_loop()
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    async with asyncio.timeout(PATIENCE):
        for number, sock in enumerate(sockets):
            sock.setblocking(False)
            answer = b""
            while not answer:  # until it listens, and the program runs
                await loop.sock_sendto(sock, str(number).encode(), ("127.0.0.1", port))
                try:
                    async with asyncio.timeout(0.2):
                        answer = await loop.sock_recv(sock, 100)
                except (TimeoutError, ConnectionError):
                    continue
            assert answer == f"answer{number}".encode()
        await loop.sock_sendto(sockets[2], b"end", ("127.0.0.1", port))
        assert await relaying == 7
    for sock in sockets:
        sock.close()


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on UDP 127.0.0.1:{port}"):
            await relay(ARGV, "127.0.0.1", [(port, 53)])


async def test_its_program_ends_with_it() -> None:
    relaying = asyncio.create_task(relay((sys.executable, "-c", "input()"), "127.0.0.1", [(free_ports()["http"], 53)]))
    await asyncio.sleep(0)
    relaying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await relaying


def test_without_a_session_datagrams_are_dropped() -> None:
    Flows().send((None, ("127.0.0.1", 1)), b"lost")  # type: ignore[arg-type] # it is not looked at
