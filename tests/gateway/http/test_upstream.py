"""An app whose answer is none, or is cut off, is seen to be that."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.http.conftest import World, read_head
from tests.gateway.http.test_exchange import GET


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "502 Bad Gateway"),
        (b"hello\r\n\r\n", "502 Bad Gateway"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, "502 Bad Gateway"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "502 Bad Gateway"),
    ],
)
async def test_an_app_that_lies_is_named(world: World, answer: bytes, expected: str) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)
        await writer.drain()

    await world.app(app)
    assert expected in (await world.get()).partition("\r\n")[0]


@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
async def test_an_answer_that_is_cut_off_is_seen_to_be(world: World, framing: bytes) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n4\r\nabcd")
        await writer.drain()

    await world.app(app)
    reader, writer = await world.connect()
    writer.write(GET + b"\r\n")
    with pytest.raises(ConnectionError):
        await reader.read()
