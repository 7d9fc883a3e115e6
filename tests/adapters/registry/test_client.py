"""What a registry may say, by one that is a fake. The real one is in test_snapshots.py."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from netvps.adapters.registry.client import Repository
from netvps.domain.image.login import Credential
from netvps.errors import DataLoss, Exhausted, NetvpsError, NotPermitted, Unavailable, WrongState

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def fake(handler: Handler) -> AsyncIterator[Repository]:
    """A repository of a registry in which `handler` answers."""

    async def login(host: str) -> Credential | None:
        return Credential(host, "puller", "secret")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        async with Repository(f"127.0.0.1:{port}", "netvps/snapshots", login) as repository:
            yield repository
    finally:
        await runner.cleanup()


async def test_a_token_is_fetched_once_and_the_login_goes_to_the_token_server_alone() -> None:
    asked: list[tuple[str, str]] = []
    basic = f"Basic {base64.b64encode(b'puller:secret').decode()}"

    async def answer(request: web.Request) -> web.StreamResponse:
        header = request.headers.get("Authorization", "")
        asked.append((request.path, header))
        if request.path == "/token":
            assert request.query["scope"] == "repository:netvps/snapshots:pull"
            return web.json_response({"token": "abc"})
        if header == "Bearer abc":
            return web.json_response({"schemaVersion": 2})
        realm = f'Bearer realm="http://{request.host}/token",service="r",scope="repository:netvps/snapshots:pull"'
        return web.Response(status=401, headers={"WWW-Authenticate": realm})

    async with fake(answer) as repository:
        for _ in range(2):
            found = await repository.manifest("one")
            assert found
            assert found[0] == {"schemaVersion": 2}
    path = "/v2/netvps/snapshots/manifests/one"
    assert asked == [(path, ""), ("/token", basic), (path, "Bearer abc"), (path, "Bearer abc")]


async def test_a_login_is_not_sent_to_a_token_server_without_tls() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert "Authorization" not in request.headers
        return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer realm="http://192.0.2.1/token"'})

    async with fake(answer) as repository:
        with pytest.raises(NotPermitted):
            await repository.manifest("one")


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (403, NotPermitted, "refuses netvps/snapshots"),
        (405, WrongState, "does not allow this"),
        (429, Unavailable, "fails .429 DENIED no more today."),
        (500, Unavailable, "copies on other runners are used"),
        (507, Exhausted, "has no room"),
        (418, WrongState, "refuses this"),
    ],
)
async def test_what_it_refuses_is_said(status: int, error: type[NetvpsError], words: str) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"errors": [{"code": "DENIED", "message": "no more today"}]}, status=status)

    async with fake(answer) as repository:
        with pytest.raises(error, match=words):
            await repository.manifest("one")


async def test_documents_that_are_none_are_refused() -> None:
    content = [b"<html>", b"[]", b"x" * (2 << 20)]

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=content[0])

    async with fake(answer) as repository:
        for words in ("is damaged", "is damaged", "is too large"):
            with pytest.raises(DataLoss, match=words):
                await repository.manifest("one")
            content.pop(0)


async def test_an_upload_stays_at_the_registry() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=202, headers={"Location": "http://192.0.2.1/upload"})

    async with fake(answer) as repository:
        with pytest.raises(WrongState, match=r"takes uploads at another address \(192.0.2.1\)"):
            await repository.begin_upload()


async def test_a_registry_without_ranges_is_read_from_the_offset() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"0123456789")

    async with fake(answer) as repository:
        assert b"".join([piece async for piece in repository.blob("sha256:1", 4)]) == b"456789"
