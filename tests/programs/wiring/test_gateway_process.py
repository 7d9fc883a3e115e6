"""The SSH gateway as a process: what is left of SSH and of all else when it, or the server, dies or hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.gateway.ssh.listener import listen_at
from netvps.process.supervisor import Child
from netvps.programs.wiring.control_plane import build
from netvps.settings import ServerSettings, load
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.slow


def gateway_of(server: int) -> int:
    """The process that the server started."""
    for children in Path(f"/proc/{server}/task").glob("*/children"):
        for pid in map(int, children.read_text().split()):
            if b"netvps.programs.gateway" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    raise AssertionError("the server has no gateway process")


def server_of(state: Path) -> int:
    return int((state / "server.lock").read_text())


async def greeting(port: int) -> bytes:
    """What the gateway says first; b'' if nothing listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return b""
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.readline()
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.transport.abort()


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            await asyncio.sleep(0.02)


async def test_a_gateway_that_dies_or_hangs_takes_nothing_along(
    arguments: list[str], state: Path, server_flags: dict[str, str]
) -> None:
    port = int(server_flags["ssh_port"])

    def health() -> float:
        began = time.monotonic()
        urllib.request.urlopen(f"http://127.0.0.1:{server_flags['http_port']}/healthz", timeout=10).read()
        return time.monotonic() - began

    child = Child("server", arguments, os.environ, 10)
    try:
        await child.start()
        server = server_of(state)
        first = gateway_of(server)
        assert await greeting(port) == b"SSH-2.0-netvps\r\n"
        os.kill(first, signal.SIGKILL)
        assert await greeting(port) == b"SSH-2.0-netvps\r\n"  # it waited in the kernel
        second = gateway_of(server)
        assert second != first
        os.kill(second, signal.SIGSTOP)
        assert await asyncio.to_thread(health) < 2
        os.kill(server, signal.SIGKILL)
        await until_gone(second)
        assert await greeting(port) == b""
    finally:
        with suppress(ProcessLookupError):
            await child.stop()


async def test_it_ends_with_the_server_and_frees_the_port(
    arguments: list[str], state: Path, server_flags: dict[str, str]
) -> None:
    port = int(server_flags["ssh_port"])
    child = Child("server", arguments, os.environ, 10)
    await child.start()
    gateway = gateway_of(server_of(state))
    environment = Path(f"/proc/{gateway}/environ").read_bytes()
    assert b"NETVPS_" not in environment.replace(b"NETVPS_ENV=", b"")
    async with asyncio.timeout(PATIENCE):
        while await greeting(port) == b"":
            await asyncio.sleep(0.05)
    await child.stop()
    assert not Path(f"/proc/{gateway}").exists()
    listen_at("127.0.0.1", port).close()


@pytest.mark.parametrize("name", ["ssh_port", "apps_port"])
async def test_a_taken_port_is_reported_at_the_start(name: str, server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    taken = listen_at("127.0.0.1", getattr(settings, name))
    try:
        with pytest.RaisesGroup(
            pytest.RaisesExc(ConfigError, match=f"in use; .*--{name.replace('_', '-')}"),
            allow_unwrapped=True,
            flatten_subgroups=True,
        ):
            async with build(settings):
                pass
    finally:
        taken.close()
