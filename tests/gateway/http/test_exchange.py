"""Bytes pass both ways up to the ends of a request and its answer, whatever either side does."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netvps.gateway.http import exchange
from tests.gateway.http.conftest import ALICE, BOB, World, read_head
from tests.support.patience import PATIENCE

GET = f"GET /x?y=1 HTTP/1.1\r\nHost: {ALICE}\r\nCookie: netvps=alice\r\n".encode()
POST = GET.replace(b"GET", b"POST", 1)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the head that came."""
    head = await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))
    await writer.drain()


async def test_a_request_reaches_its_app_without_credentials(world: World) -> None:
    await world.app(echo)
    answer = await world.get("/x?y=1", ALICE, "Netvps-Authorization: Basic x", "X-Forwarded-For: 6.6.6.6", "Accept: a")
    assert answer.startswith("HTTP/1.1 200 OK\r\ncontent-length: ")
    assert "GET /x?y=1 HTTP/1.1\r\n" in answer
    assert "cookie: a=b\r\n" in answer
    assert "netvps" not in answer.partition("\r\n\r\n")[2]
    assert "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: 8080--dev1" in answer
    assert "6.6.6.6" not in answer


async def test_a_second_request_on_the_connection_reaches_no_app(world: World) -> None:
    seen: list[bytes] = []

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_head(reader) + await reader.readexactly(3))
        writer.write(OK)
        await writer.drain()
        seen.append(await reader.read())

    await world.app(app)
    await world.app(echo, "bob")
    second = b"GET /second HTTP/1.1\r\nHost: %b\r\nCookie: netvps=bob\r\n\r\n" % BOB.encode()
    answer = await world.send(POST + b"Content-Length: 3\r\n\r\nabc" + second)
    assert answer.endswith(b"connection: close\r\n\r\nok")
    assert seen[0].endswith(b"\r\n\r\nabc")
    assert b"second" not in b"".join(seen) + answer
    assert [dial[0] for dial in world.plane.dials] == ["uid-alice"]


async def test_an_upload_in_chunks_arrives_whole_with_its_trailer(world: World) -> None:
    data, got = os.urandom(3_000_000), asyncio.get_running_loop().create_future()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        body = bytearray()
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        got.set_result((bytes(body), await reader.readline()))
        writer.write(OK)
        await writer.drain()

    await world.app(app)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(p), p) for p in (data[i : i + 70_001] for i in range(0, len(data), 70_001))
    )
    answer = await world.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Sum: 1\r\n\r\n")
    assert answer.endswith(b"ok")
    assert await got == (data, b"X-Sum: 1\r\n")


async def test_continue_and_informational_answers_pass(world: World) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"expect: 100-continue" in await read_head(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(3) == b"abc"
        writer.write(OK)
        await writer.drain()

    await world.app(app)
    reader, writer = await world.connect()
    writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert await read_head(reader) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert (await reader.read()).endswith(b"ok")


async def test_a_websocket_passes_both_ways_and_is_half_closed(world: World) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert b"connection: Upgrade\r\nupgrade: websocket\r\n" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst")
        writer.write(b"you said: " + await reader.read())
        await writer.drain()

    await world.app(app)
    reader, writer = await world.connect()
    writer.write(GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
    assert b"101 Switching" in await read_head(reader)
    assert await reader.readexactly(5) == b"first"
    writer.write(b" and late")
    writer.write_eof()
    assert await reader.read() == b"you said: early and late"


async def test_events_arrive_as_they_are_sent(world: World) -> None:
    go_on = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await go_on.wait()
        writer.write(b"data: 2\n\n")
        await writer.drain()

    await world.app(app)
    reader, writer = await world.connect()
    writer.write(GET + b"\r\n")
    await read_head(reader)
    assert await reader.readexactly(9) == b"data: 1\n\n"
    go_on.set()
    assert await reader.read() == b"data: 2\n\n"


async def test_an_app_that_leaves_its_connection_open_does_not_hold_the_client(world: World) -> None:
    gone = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 Not asked\r\n\r\n"
        )
        await reader.read()
        gone.set()

    await world.app(app)
    assert (await world.get()).endswith("2\r\nok\r\n0\r\n\r\n")
    await asyncio.wait_for(gone.wait(), PATIENCE)


async def test_a_client_that_takes_nothing_stalls_its_app_and_not_memory(world: World) -> None:
    sent = 0

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while sent < 100_000_000:
            writer.write(bytes(100_000))
            await writer.drain()
            sent += 100_000

    await world.app(app)
    reader, writer = await world.connect()
    writer.write(GET + b"\r\n")
    await read_head(reader)
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.2)
    assert sent < 40_000_000
    total = 0
    while data := await reader.read(1 << 20):
        total += len(data)
    assert total == 100_000_000


async def test_an_app_that_takes_nothing_stalls_its_client(world: World) -> None:
    go_on, digest = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        hashed = hashlib.sha256()
        left = 60_000_000
        while left:
            data = await reader.read(min(left, 1 << 20))
            left -= len(data)
            hashed.update(data)
        digest.set_result(hashed.digest())
        writer.write(OK)
        await writer.drain()

    await world.app(app)
    reader, writer = await world.connect()
    data = os.urandom(60_000_000)
    writer.write(POST + b"Content-Length: 60000000\r\n\r\n" + data)
    before = -1
    while before != (left := writer.transport.get_write_buffer_size()):
        before = left
        await asyncio.sleep(0.2)
    assert left > 20_000_000
    go_on.set()
    assert (await reader.read()).endswith(b"ok")
    assert await digest == hashlib.sha256(data).digest()


async def test_a_silent_app_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "ANSWER_SECONDS", 0.1)

    async def app(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.read()

    await world.app(app)
    assert "504 Gateway Timeout" in await world.get()


async def test_a_slow_head_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "HEAD_SECONDS", 0.3)
    reader, writer = await world.connect()
    trickle = asyncio.ensure_future(reader.read())
    while not trickle.done():
        writer.write(b"G")
        await asyncio.wait([trickle], timeout=0.02)
    with pytest.raises(ConnectionError):
        await trickle
    assert not world.plane.dials


async def test_a_stalled_body_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "STALLED", 0.1)
    gone = asyncio.Event()

    async def app(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            gone.set()

    await world.app(app)
    _, writer = await world.connect()
    writer.write(POST + b"Content-Length: 3\r\n\r\na")
    await asyncio.wait_for(gone.wait(), PATIENCE)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        (GET + b"X: " + b"a" * 70_000, "431"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
    ],
)
async def test_a_head_that_is_refused_reaches_no_app(world: World, data: bytes, status: str) -> None:
    await world.app(echo)
    assert (await world.send(data)).startswith(f"HTTP/1.1 {status} ".encode())
    assert not world.plane.dials


async def test_malformed_chunks_end_the_request(world: World) -> None:
    await world.app(echo)
    answer = await world.send(POST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


def pieces(bytes_: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(bytes_) + 1) for cut in cuts} | {len(bytes_)})
    return [bytes_[a:b] for a, b in zip([0, *ends], ends, strict=False) if a < b]


REQUESTS = st.lists(
    st.sampled_from(
        [
            b"%b / HTTP/1.1\r\nHost: %b\r\nCookie: netvps=%b\r\n%b\r\n%b" % (method, host.encode(), user, framing, body)
            for method in (b"GET", b"POST")
            for host, user in ((ALICE, b"alice"), (BOB, b"bob"), (BOB, b"alice"))
            for framing, body in (
                (b"", b""),
                (b"Content-Length: 6\r\n", b"alice!"),
                (b"Content-Length: 2\r\n", b"alice!"),
                (b"Transfer-Encoding: chunked\r\n", b"6\r\nalice!\r\n0\r\n\r\n"),
                (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n"),
                (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
                (b"Content-Length: 6\r\n Transfer-Encoding: chunked\r\n", b"0\r\n\r\nx"),
            )
        ]
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(REQUESTS, st.lists(st.integers(0, 600), max_size=4))
async def test_bytes_of_one_connection_reach_one_session_alone(
    world: World, requests: list[bytes], cuts: list[int]
) -> None:
    seen: dict[str, bytes] = {}
    apps: set[asyncio.Task[None] | None] = set()

    def recorder(owner: str) -> object:
        async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            apps.add(asyncio.current_task())
            head = await read_head(reader)
            writer.write(OK)
            await writer.drain()
            seen[owner] = seen.get(owner, b"") + head + await reader.read()

        return app

    world.plane.dials.clear()
    for owner in ("alice", "bob"):
        await world.app(recorder(owner), owner)  # type: ignore[arg-type]
    reader, writer = await world.connect()
    for piece in pieces(b"".join(requests), cuts):
        writer.write(piece)
        await asyncio.sleep(0)
    writer.write_eof()
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            await reader.read()
        world.plane.url_listeners[0]("")  # ends what is kept
        await asyncio.gather(*filter(None, apps))
    first = b"alice" if b"netvps=alice" in requests[0] else b"bob"
    reached = {uid for uid, _, _ in world.plane.dials}
    assert len(world.plane.dials) <= 1
    assert reached <= {f"uid-{first.decode()}"}
    for text in seen.values():
        assert text.count(b"HTTP/1.1") == 1
