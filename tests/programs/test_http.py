"""The process of the HTTP gateway, as netvps.programs.wiring.apps starts it: it serves, and ends with its server."""

from __future__ import annotations

import asyncio
import http.client

import pytest

from netvps.programs.wiring.control_plane import build
from netvps.settings import ServerSettings, load


def _status(port: int, host: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/", headers={"Host": host})
    return connection.getresponse().status


async def test_it_serves_with_the_server_and_ends_with_it(server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags)
    settings.paths.runtime.mkdir(parents=True)
    async with build(settings) as plane:
        assert await asyncio.to_thread(_status, settings.apps_port, "dev1.localhost") == 401
        assert await asyncio.to_thread(_status, settings.apps_port, "login.localhost") == 200
        await plane.apps.stop()
        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(_status, settings.apps_port, "dev1.localhost")
