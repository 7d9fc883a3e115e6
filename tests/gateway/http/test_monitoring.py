"""Alive and ready."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.finding import Finding, Severity
from netvps.errors import ConfigError, Unauthenticated, Unavailable
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
        assert await ask(gateway.port, "/livez") == (200, "ok\n")
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


class Insight:
    """Admins have the key nv_admin, users nv_user."""

    def __init__(self, *severities: Severity) -> None:
        self._severities = severities
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def authorize(self, api_key: str) -> None:
        await self.go_on.wait()
        if api_key not in {"nv_admin", "nv_user"}:
            raise Unauthenticated("unknown")
        Caller("x", Role.ADMIN if api_key == "nv_admin" else Role.USER).require_admin("see it")

    async def findings(self) -> list[Finding]:
        return [Finding(severity, "part", "a text", "a remedy") for severity in self._severities]


async def test_it_is_ready_while_it_serves_only() -> None:
    async with HttpGateway(host="127.0.0.1", port=0) as gateway:
        assert await ask(gateway.port, "/readyz") == (503, "not ready: starting\n")
        assert (await ask(gateway.port, "/metrics"))[0] == 404
        gateway.wait_for("the database")
        assert await ask(gateway.port, "/readyz") == (503, "not ready: waiting for the database\n")
        assert await ask(gateway.port, "/health/details") == (503, "no details: waiting for the database\n")
        assert await ask(gateway.port, "/livez") == (200, "ok\n")
        gateway.serve({"store": yes}, Numbers(), Insight())
        assert await ask(gateway.port, "/readyz") == (200, "ready\n")
        assert (await ask(gateway.port, "/metrics"))[0] == 200
        gateway.stop()
        assert await ask(gateway.port, "/readyz") == (503, "not ready: stopping\n")
        assert await ask(gateway.port, "/healthz") == (200, "ok\n")


async def details(port: int, authorization: str) -> tuple[int, str]:
    url, headers = f"http://127.0.0.1:{port}/health/details", {"Authorization": authorization}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [("", 401), ("nv_admin", 401), ("Basic nv_admin", 401), ("Bearer nv_other", 401), ("Bearer nv_user", 403)],
)
async def test_details_are_for_admins(authorization: str, status: int) -> None:
    async with HttpGateway(host="127.0.0.1", port=0) as gateway:
        gateway.serve({}, Numbers(), Insight(Severity.OK))
        found, text = await details(gateway.port, authorization)
    assert found == status
    assert "a text" not in text


@pytest.mark.parametrize(
    ("severities", "status", "worst"),
    [
        ((Severity.OK, Severity.OK), 200, "OK"),
        ((Severity.OK, Severity.WARN), 200, "WARN"),
        ((Severity.WARN, Severity.FAIL, Severity.OK), 503, "FAIL"),
    ],
)
async def test_details_have_each_check_and_the_worst(severities: tuple[Severity, ...], status: int, worst: str) -> None:
    async with HttpGateway(host="127.0.0.1", port=0) as gateway:
        gateway.serve({}, Numbers(), Insight(*severities))
        found, text = await details(gateway.port, "Bearer nv_admin")
    answer = json.loads(text)
    assert (found, answer["severity"]) == (status, worst)
    assert [check["severity"] for check in answer["checks"]] == [severity.value for severity in severities]
    assert answer["checks"][0] | {"severity": ""} == {
        "check": "part", "severity": "", "text": "a text", "remedy": "a remedy"
    }  # fmt: skip


async def test_strangers_cannot_queue_for_details() -> None:
    insight = Insight(Severity.OK)
    insight.go_on.clear()
    async with HttpGateway(host="127.0.0.1", port=0) as gateway, asyncio.TaskGroup() as group:
        gateway.serve({}, Numbers(), insight)
        asked = [group.create_task(details(gateway.port, "Bearer x")) for _ in range(5)]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result()[0] for task in done] == [429]
        insight.go_on.set()
    assert sorted(task.result()[0] for task in asked) == [401, 401, 401, 401, 429]
