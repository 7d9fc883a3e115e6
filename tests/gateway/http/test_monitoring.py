"""Alive and ready."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from netvps.errors import ConfigError, Unavailable
from netvps.gateway.http import monitoring as http
from netvps.gateway.http.monitoring import HttpGateway


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


async def broken() -> bool:
    raise RuntimeError("boom")


async def never() -> bool:
    await asyncio.Event().wait()
    return True


async def test_alive_and_ready() -> None:
    async with HttpGateway({"store": yes}, host="127.0.0.1", port=0) as gateway:
        assert await ask(gateway.port, "/healthz") == (200, "ok\n")
        assert await ask(gateway.port, "/readyz") == (200, "ready\n")


async def test_not_ready_names_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CHECK_TIMEOUT", 0.05)
    checks = {"store": yes, "ssh": no, "feed": broken, "slow": never}
    async with HttpGateway(checks, host="127.0.0.1", port=0) as gateway:
        assert await ask(gateway.port, "/readyz") == (503, "not ready: ssh, feed, slow\n")
        assert (await ask(gateway.port, "/healthz"))[0] == 200


class Numbers:
    content_type = "text/plain; version=0.0.4; charset=utf-8"

    async def content(self) -> bytes:
        return b"a_number 1\n"


class NoNumbers(Numbers):
    async def content(self) -> bytes:
        raise Unavailable("the database is away; try again")


async def test_metrics() -> None:
    async with HttpGateway({}, host="127.0.0.1", port=0, metrics=Numbers()) as gateway:
        assert await ask(gateway.port, "/metrics") == (200, "a_number 1\n")
    async with HttpGateway({}, host="127.0.0.1", port=0, metrics=NoNumbers()) as gateway:
        assert await ask(gateway.port, "/metrics") == (503, "no metrics: the database is away; try again\n")
    async with HttpGateway({}, host="127.0.0.1", port=0) as gateway:
        assert (await ask(gateway.port, "/metrics"))[0] == 404


async def test_a_taken_port_is_named() -> None:
    async with HttpGateway({}, host="127.0.0.1", port=0) as first:
        with pytest.raises(ConfigError, match=f"127.0.0.1:{first.port}: address in use"):
            await HttpGateway({}, host="127.0.0.1", port=first.port).__aenter__()
