from __future__ import annotations

import asyncio
import json
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from netvps.adapters.store.dialects import sqlite
from netvps.domain.access.accounts import Role
from netvps.errors import Unavailable
from netvps.programs.wiring import health
from netvps.programs.wiring.control_plane import build
from netvps.rpc.client.client import Client, Endpoint
from netvps.settings import ServerSettings, load
from tests.support.patience import PATIENCE


def _get(settings: ServerSettings, path: str, key: str = "") -> tuple[int, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{settings.http_port}{path}", headers={"Authorization": f"Bearer {key}"} if key else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def settings(server_flags: dict[str, str]) -> ServerSettings:
    found = load(ServerSettings, server_flags)
    found.paths.prepare()
    return found


def _keys(settings: ServerSettings) -> tuple[str, str]:
    """API keys of an admin and of a user."""
    with Client(Endpoint(f"unix:{settings.paths.api_socket}")) as client:
        client.create_user("ann", Role.USER)
        return client.create_api_key(), client.create_api_key("ann")


async def test_details_name_each_part_to_an_admin(settings: ServerSettings) -> None:
    async with build(settings) as plane:
        assert await asyncio.to_thread(_get, settings, "/readyz") == (200, "ready\n")
        admin, user = await asyncio.to_thread(_keys, settings)
        assert (await asyncio.to_thread(_get, settings, "/health/details"))[0] == 401
        assert (await asyncio.to_thread(_get, settings, "/health/details", user))[0] == 403
        status, text = await asyncio.to_thread(_get, settings, "/health/details", admin)
        assert status == 200
        answer = json.loads(text)
        assert answer["severity"] == "OK"
        assert {check["check"]: check["text"] for check in answer["checks"]} == {
            "database": "0 writers wait",
            "ssh gateway": "0 connections",
            "runners": "none has joined",
        }
        await plane.stop()
        assert await asyncio.to_thread(_get, settings, "/readyz") == (503, "not ready: stopping\n")


async def test_it_waits_for_its_database_and_says_so(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_PAUSES", (0.05,))
    monkeypatch.setattr(sqlite, "PATIENCE", 0.1)
    give_up = asyncio.Event()
    with closing(sqlite3.connect(settings.paths.state / "netvps.db", isolation_level=None)) as other:
        other.execute("begin exclusive")

        async def ready() -> bool:
            async with build(settings, give_up=give_up):
                answer = await asyncio.to_thread(_get, settings, "/readyz")
                return answer == (200, "ready\n")

        starting = asyncio.create_task(ready())
        await _until(settings, "not ready: waiting for the database\n")
        assert await asyncio.to_thread(_get, settings, "/livez") == (200, "ok\n")
        other.execute("rollback")
        assert await starting


async def test_it_stops_waiting_on_request(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.1)
    give_up = asyncio.Event()
    with closing(sqlite3.connect(settings.paths.state / "netvps.db", isolation_level=None)) as other:
        other.execute("begin exclusive")

        async def start(event: asyncio.Event | None) -> None:
            async with build(settings, give_up=event):
                pytest.fail("it started without its database")

        with pytest.raises(Unavailable):  # who does not want to wait
            await start(None)
        starting = asyncio.create_task(start(give_up))
        await _until(settings, "not ready: waiting for the database\n")
        give_up.set()
        with pytest.raises(Unavailable):
            await starting


async def _until(settings: ServerSettings, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if (await asyncio.to_thread(_get, settings, "/readyz"))[1] == text:
                    return
            except OSError:
                pass  # it does not listen yet
            await asyncio.sleep(0.02)
