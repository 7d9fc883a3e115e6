"""Names and packets between sessions: a DNS server on their bridge, and UDP from within their network namespaces."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from netvps.adapters.dns.server import DnsServer
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from netvps.domain.session.session import Assignment
from tests.adapters.docker.overlay import POOL, OverlayNetwork

_ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
    echo.bind(("", 0))
    print(echo.getsockname()[1], flush=True)
    while True:
        said, asker = echo.recvfrom(2000)
        echo.sendto(said + f" from {asker[0]}".encode(), asker)
"""
_ASK = """
import socket, sys
import dns.resolver
resolver = dns.resolver.Resolver(filename=sys.argv[1])
address = next(iter(resolver.resolve(sys.argv[2], search=True))).address
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(20)
    asking.sendto(b"hello", (address, int(sys.argv[3])))
    print(asking.recv(2000).decode(), end="")
"""


@asynccontextmanager
async def serving(overlay: OverlayNetwork, sessions: Sequence[Assignment]) -> AsyncIterator[None]:
    """The DNS server of a runner on whose overlay these are."""
    endpoints = tuple(
        Endpoint(assignment.session_uid, assignment.session_id, assignment.owner_id, assignment.address)
        for assignment in sessions
    )
    netmap = Netmap().updated(NetmapUpdate(1, endpoints=endpoints))
    server = DnsServer()
    try:
        await server.serve(
            View("r", OverlaySettings("c", POOL), Lease(overlay.subnet, "r", 1), Underlay(("192.0.2.1",), 1450), netmap)
        )
        yield
    finally:
        await server.close()


@asynccontextmanager
async def udp_echo(pid: int) -> AsyncIterator[int]:
    """Echoes in the network of a process, with the asker's address; yields the port."""
    process = await asyncio.create_subprocess_exec(*_within(pid, _ECHO), stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


def udp_ask(pid: int, name: str, port: int) -> str:
    """Says hello from the network of a process to a name, found as its resolv.conf says."""
    command = _within(pid, _ASK, f"/proc/{pid}/root/etc/resolv.conf", name, str(port))
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def _within(pid: int, program: str, *arguments: str) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", program, *arguments]
