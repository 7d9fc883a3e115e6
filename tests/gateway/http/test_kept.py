"""Connections into sessions are used again where no app can take one request for a part of another."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netvps.gateway.http import kept
from tests.gateway.http.conftest import ALICE, BOB, World, read_head
from tests.gateway.http.test_exchange import GET, POST
from tests.support.patience import PATIENCE

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH, CHUNKS = b"Content-Length: %(size)d\r\n", b"Transfer-Encoding: chunked\r\n"
CHUNKED = b"\r\n%(size)x\r\n%(body)b\r\n0\r\n\r\n"
ANSWERS = {
    "length": OK + LENGTH + b"\r\n%(body)b",
    "chunks": OK + CHUNKS + CHUNKED,
    "more": OK + LENGTH + b"\r\n%(body)b" + OK + b"Content-Length: 4\r\n\r\nevil",
    "close": OK + LENGTH + b"Connection: close\r\n\r\n%(body)b",
    "old": OK.replace(b"1.1", b"1.0") + LENGTH + b"\r\n%(body)b",
    "both": OK + LENGTH + CHUNKS + CHUNKED,
}
"""By the path that is asked for."""


@dataclass
class Apps:
    """Answers each request with OWNER/ID, for a path /ANSWER/ID, and records what comes."""

    connections: list[tuple[str, list[bytes], bytearray]] = field(default_factory=list)
    """Owner, heads that came on the connection, and what came after the last one."""
    tasks: set[asyncio.Task[None] | None] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection has ended."""

    def app(self, owner: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.tasks.add(asyncio.current_task())
            heads: list[bytes] = []
            rest = bytearray()
            self.connections.append((owner, heads, rest))
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await read_head(reader)
                    heads.append(head)
                    _, answer, number = head.split(b" ")[1].decode().split("/")
                    body = f"{owner}/{number}".encode()
                    writer.write(ANSWERS[answer] % {b"size": len(body), b"body": body})
                    await writer.drain()
                    if b"connection: close" in head:
                        rest += await reader.read()
                        break
            self.ended.set()

        return serve

    async def of(self, world: World, *owners: str) -> Apps:
        for owner in owners:
            await world.app(self.app(owner), owner)  # type: ignore[arg-type]
        return self


async def test_the_next_request_takes_the_same_connection(world: World) -> None:
    apps = await Apps().of(world, "alice")
    for number in range(3):
        assert (await world.get(f"/length/{number}")).endswith(f"alice/{number}")
    assert (await world.get("/chunks/3")).endswith("alice/3\r\n0\r\n\r\n")
    assert len(world.plane.dials) == 1
    ((_, heads, _),) = apps.connections
    assert len(heads) == 4
    assert b"connection:" not in b"".join(heads)


@pytest.mark.parametrize("answer", ["more", "close", "old", "both"])
async def test_an_answer_whose_end_is_not_plain_ends_its_connection(world: World, answer: str) -> None:
    await Apps().of(world, "alice")
    await world.get(f"/{answer}/0")
    assert (await world.get("/length/1")).endswith("alice/1")
    assert len(world.plane.dials) == 2


@pytest.mark.parametrize(
    "request_",
    [
        POST.replace(b"/x", b"/length/1", 1) + b"Content-Length: 3\r\n\r\nabc",
        GET.replace(b"/x", b"/length/1", 1) + b"Content-Length: 3\r\n\r\nabc",
        GET.replace(b"/x", b"/length/1", 1) + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET.replace(b"/x", b"/length/1", 1).replace(b"GET", b"HEAD") + b"\r\n",
        GET.replace(b"/x", b"/length/1", 1).replace(b"1.1", b"1.0") + b"\r\n",
    ],
)
async def test_what_is_more_than_the_head_of_a_get_has_a_connection_of_its_own(world: World, request_: bytes) -> None:
    apps = await Apps().of(world, "alice")
    await world.get("/length/0")
    await world.send(request_)
    await world.get("/length/2")
    assert len(world.plane.dials) == 2
    assert [len(heads) for _, heads, _ in apps.connections] == [2, 1]


async def test_users_and_probes_do_not_share_connections(world: World) -> None:
    world.plane.public.add(ALICE)
    await Apps().of(world, "alice")
    for headers in ((), ("Netvps-Authorization: Bearer alice",), ("User-Agent: kube-probe",)):
        await world.get("/length/0", ALICE, *headers, user="")
    assert [counted for _, _, counted in world.plane.dials] == [True, True, False]


@pytest.mark.parametrize("change", ["user", "urls", "session"])
async def test_a_kept_connection_ends_with_what_let_it_through(world: World, change: str) -> None:
    apps = await Apps().of(world, "alice")
    await world.get("/length/0")
    plane = world.plane
    (listener,) = {"user": plane.listeners, "urls": plane.url_listeners, "session": plane.session_listeners}[change]
    listener("bob")  # does not concern it
    await world.get("/length/1")
    assert len(plane.dials) == 1
    listener("alice" if change == "user" else "uid-alice")
    async with asyncio.timeout(PATIENCE):
        await apps.ended.wait()


async def test_a_change_during_an_answer_keeps_its_connection_from_the_next(world: World) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_head(reader):
            asked.set()
            await go_on.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    await world.app(app)
    first = asyncio.create_task(world.get())
    await asked.wait()
    world.plane.session_listeners[0]("uid-alice")
    go_on.set()
    assert (await first).endswith("ok")
    assert (await world.get()).endswith("ok")
    assert len(world.plane.dials) == 2


async def test_an_idle_connection_ends_and_its_number_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(kept, "OF_SESSION", 0)
    apps = await Apps().of(world, "alice")
    await world.get("/length/0")
    async with asyncio.timeout(PATIENCE):
        await apps.ended.wait()
        apps.ended.clear()
        monkeypatch.setattr(kept, "OF_SESSION", 1)
        await world.get("/length/1")
        await apps.ended.wait()
    assert len(world.plane.dials) == 2


@pytest.mark.parametrize(("second", "expected"), [(b"", "ok"), (b"HTTP/1.1 2", "502")])
async def test_a_request_on_a_connection_that_had_ended_is_repeated_once(
    world: World, second: bytes, expected: str
) -> None:
    """`second` is what the app says to the second request before it ends the connection."""
    heads = 0

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heads
        while await read_head(reader):
            heads += 1
            if heads == 2:
                writer.write(second)
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    await world.app(app)
    assert (await world.get()).endswith("ok")
    assert expected in await world.get()
    assert heads == (3 if expected == "ok" else 2)


async def test_an_app_that_always_closes_is_asked_twice_and_then_named(world: World) -> None:
    heads = 0

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heads
        while await read_head(reader):
            heads += 1
            if heads > 1:
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    await world.app(app)
    await world.get()
    assert "502" in await world.get()
    assert heads == 3


HOSTS = {"alice": ALICE, "bob": BOB}
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([(ALICE, "alice"), (BOB, "bob"), (BOB, "alice")]),
        st.sampled_from(["GET", "GET", "POST", "HEAD"]),
        st.sampled_from([*ANSWERS]),
        st.sampled_from(
            [
                b"\r\n",
                b"\r\nGET /length/99 HTTP/1.1\r\nHost: %b\r\n\r\n" % BOB.encode(),
                b"Content-Length: 6\r\n\r\nalice!",
                b"Content-Length: 0\r\n\r\nGET /length/99 HTTP/1.1\r\n\r\n",
                b"Transfer-Encoding: chunked\r\n\r\n6\r\nalice!\r\n0\r\n\r\n",
                b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
                b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
                b"Connection: keep-alive, host\r\n\r\n",
            ]
        ),
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(REQUESTS)
async def test_whoever_asks_gets_the_answer_to_that(
    world: World, requests: list[tuple[tuple[str, str], str, str, bytes]]
) -> None:
    apps = await Apps().of(world, "alice", "bob")
    for number, ((host, user), method, answer, end) in enumerate(requests):
        head = f"{method} /{answer}/{number} HTTP/1.1\r\nHost: {host}\r\nCookie: netvps={user}\r\n"
        with contextlib.suppress(ConnectionError):
            got = await world.send(head.encode() + end)
            for owner, found in re.findall(rb"(alice|bob)/(\d+)", got):
                assert (owner.decode(), int(found)) == (user, number)
            assert b"evil" not in got
    world.plane.url_listeners[0]("")  # ends what is kept
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*filter(None, apps.tasks))
    for owner, heads, rest in apps.connections:
        assert all(f"host: {HOSTS[owner]}\r\n".encode() in head for head in heads)
        if len(heads) > 1:
            assert not rest
            assert all(
                re.fullmatch(rb"GET /\w+/\d+ HTTP/1.1\r\n(?:(?!content-|transfer-).*\r\n)*", head) for head in heads
            )
