"""Two transports joined: ends, breaks, and a socket that was closed while its session does not end."""

from __future__ import annotations

import asyncio
import socket

import pytest

from netvps.domain.tunnel import Data, Eof, Reset
from netvps.gateway.tunnel.dial_stream import DialStream
from netvps.gateway.worker import joint
from netvps.gateway.worker.joint import join
from tests.support.patience import PATIENCE

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def joined() -> tuple[Peer, DialStream]:
    mine, theirs = socket.socketpair()
    stream = DialStream()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=theirs)
    join(transport, stream)
    return await asyncio.open_connection(sock=mine), stream


async def frame(stream: DialStream) -> object:
    async with asyncio.timeout(PATIENCE):
        return await anext(stream.frames())


async def test_bytes_and_ends_pass_both_ways() -> None:
    (reader, writer), stream = await joined()
    writer.write(b"up")
    assert await frame(stream) == Data(b"up")
    stream.receive(Data(b"down"))
    writer.write_eof()
    assert await frame(stream) == Eof()
    stream.receive(Eof())
    assert [left async for left in stream.frames()] == []
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b"down"
    writer.close()
    await writer.wait_closed()


async def test_a_session_that_breaks_breaks_the_socket() -> None:
    (reader, writer), stream = await joined()
    stream.broke("gone")
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    writer.transport.abort()
    await asyncio.sleep(0.01)


async def test_a_closed_socket_ends_a_session_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "LINGER", 0.05)
    (_, writer), stream = await joined()
    writer.transport.abort()
    assert await frame(stream) == Eof()
    await asyncio.sleep(0.2)
    assert stream.is_closing()
    assert isinstance(await frame(stream), Reset)
    await asyncio.sleep(0.01)
