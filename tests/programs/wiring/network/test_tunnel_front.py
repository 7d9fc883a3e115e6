"""The process before the tunnel's port, as a server starts it; and without it."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.programs.wiring.control_plane import build
from netvps.programs.wiring.network import tunnel_front
from netvps.settings import ServerSettings, load
from tests.support.patience import PATIENCE


async def protocol_of(port: int) -> str | None:
    """What gRPC's port answers to a client without a certificate: the protocol, before it is refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    writer.transport.abort()
    return str(chosen)


async def test_grpc_is_behind_the_process_and_the_port_outlives_it(server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    async with build(settings) as plane:
        assert plane.front is not None
        assert plane.tunnels.direct
        assert await protocol_of(settings.link_port) == "h2"
        pid = plane.front.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            assert await protocol_of(settings.link_port) == "h2"
        await plane.stop()
        with pytest.raises(ConnectionError):
            await protocol_of(settings.link_port)


def _missing() -> Path:
    raise ConfigError("the agent's program is missing")


@pytest.mark.parametrize("program", [_missing, lambda: Path("/bin/true")], ids=["missing", "another"])
async def test_without_the_process_grpc_listens_by_itself(
    server_flags: dict[str, str], monkeypatch: pytest.MonkeyPatch, program: object
) -> None:
    monkeypatch.setattr(tunnel_front, "agent_program", program)
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    async with build(settings) as plane:
        assert plane.front is None
        assert not plane.tunnels.direct
        assert await protocol_of(settings.link_port) == "h2"
        await plane.stop()
