"""What is open ends when it would not be let through any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from netvps.domain.sleep.waking import LoginEffect
from netvps.errors import NotPermitted
from netvps.gateway.http import reviews
from netvps.services.http.visits import AdmittedRequest
from tests.gateway.http.conftest import ALICE, World, read_head
from tests.gateway.http.test_exchange import GET, echo
from tests.gateway.http.test_requests import sleeps
from tests.support.patience import PATIENCE

UPGRADE = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def web_socket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    while data := await reader.read(9):
        writer.write(data)


async def asked_again() -> None:
    """Returns once all that is open was decided about again."""
    while any(task.get_name().startswith("review") for task in asyncio.all_tasks()):
        await asyncio.sleep(0)


async def test_an_open_websocket_ends_with_what_let_it_through(world: World) -> None:
    await world.app(web_socket)
    reader, writer = await world.connect()
    writer.write(UPGRADE)
    assert b" 101 " in await read_head(reader)
    (listener,) = world.plane.listeners
    listener("bob")
    listener("alice")  # who may still do it
    await asked_again()
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    del world.plane.states["alice"]
    listener("alice")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), PATIENCE)


async def test_an_open_websocket_ends_with_the_url_that_let_it_through(world: World) -> None:
    await world.app(web_socket)
    world.plane.public.add(ALICE)
    reader, writer = await world.connect()
    writer.write(UPGRADE.replace(b"Cookie: netvps=alice\r\n", b""))
    assert b" 101 " in await read_head(reader)
    world.plane.public.clear()
    (listener,) = world.plane.url_listeners
    listener("uid-bob")
    await asked_again()
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    listener("uid-alice")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), PATIENCE)


async def test_what_is_open_at_a_replaced_session_has_a_moment_to_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = asyncio.Event()

    async def wait(seconds: float) -> None:
        assert seconds == reviews.MOVED_SECONDS
        await over.wait()

    await world.app(web_socket)
    reader, writer = await world.connect()
    writer.write(UPGRADE)
    assert b" 101 " in await read_head(reader)
    monkeypatch.setattr("netvps.gateway.http.reviews.asyncio.sleep", wait)
    visit, asked = world.plane.visit, asyncio.Event()

    async def visit_another(host: str, cookie: str, api_key: str) -> AdmittedRequest:
        found = await visit(host, cookie, api_key)
        asked.set()
        return replace(found, session=replace(found.session, uid="uid-new"))

    world.plane.visit = visit_another  # type: ignore[method-assign]
    world.plane.url_listeners[0]("uid-alice")
    await asyncio.wait_for(asked.wait(), PATIENCE)
    writer.write(b"x")
    assert await asyncio.wait_for(reader.readexactly(1), PATIENCE) == b"x"
    over.set()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), PATIENCE)


async def test_a_change_while_it_is_asked_is_not_missed(world: World) -> None:
    visit, asked = world.plane.visit, 0

    async def changed_meanwhile(host: str, cookie: str, api_key: str) -> AdmittedRequest:
        nonlocal asked
        found, asked = await visit(host, cookie, api_key), asked + 1
        if asked == 1:
            world.plane.listeners[0]("alice")
            return found
        raise NotPermitted("not any more")

    world.plane.visit = changed_meanwhile  # type: ignore[method-assign]
    assert (await world.get("/", ALICE)).startswith("HTTP/1.1 403 ")
    assert (asked, world.plane.dials) == (2, [])


async def test_a_decision_counts_until_a_change_concerns_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.app(echo)
    plane = world.plane

    async def asks(user: str = "alice") -> bool:
        """Whether a request is asked about."""
        before = plane.asked
        assert (await world.get(user=user)).startswith("HTTP/1.1 200 " if user == "alice" else "HTTP/1.1 404 ")
        return plane.asked > before

    assert [await asks(), await asks()] == [True, False]
    assert [await asks("bob"), await asks("bob")] == [True, True]  # what is refused is not kept
    (user,), (urls,), (session,) = plane.listeners, plane.url_listeners, plane.session_listeners
    by_uid = ("uid-bob", "uid-alice")
    for report, other, own in ((user, "bob", "alice"), (urls, *by_uid), (session, *by_uid)):
        report(other)
        assert not await asks()
        for which in (own, ""):
            report(which)
            assert [await asks(), await asks()] == [True, False]
    monkeypatch.setattr(reviews, "KEPT_SECONDS", 0.0)
    session("")
    assert [await asks(), await asks()] == [True, True]


async def test_a_session_that_sleeps_is_asked_about_each_time(world: World) -> None:
    sleeps(world, LoginEffect.REFUSED)
    for asked in (1, 2):
        assert (await world.get()).startswith("HTTP/1.1 503 ")
        assert world.plane.asked == asked


async def test_a_session_that_changes_while_it_is_asked_about_is_not_kept(world: World) -> None:
    await world.app(echo)
    visit = world.plane.visit

    async def changed_meanwhile(host: str, cookie: str, api_key: str) -> AdmittedRequest:
        world.plane.session_listeners[0]("uid-alice")
        return await visit(host, cookie, api_key)

    world.plane.visit = changed_meanwhile  # type: ignore[method-assign]
    for asked in (1, 2):
        assert (await world.get()).startswith("HTTP/1.1 200 ")
        assert world.plane.asked == asked
