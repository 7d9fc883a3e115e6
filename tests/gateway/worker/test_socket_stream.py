"""A connection until its protocol is there: the first bytes are kept, and an end before that is an error."""

from __future__ import annotations

import asyncio
import socket

import pytest

from netvps.gateway.worker.socket_stream import SocketStream
from tests.support.patience import PATIENCE


async def connected() -> tuple[SocketStream, socket.socket]:
    mine, theirs = socket.socketpair()
    stream = SocketStream()
    await asyncio.get_running_loop().create_connection(lambda: stream, sock=theirs)
    return stream, mine


async def test_the_first_bytes_are_the_protocols() -> None:
    stream, peer = await connected()
    peer.sendall(b"first")
    await asyncio.wait_for(stream.ready, PATIENCE)
    peer.sendall(b" second")
    reader = asyncio.StreamReader()
    stream.start(asyncio.StreamReaderProtocol(reader))
    peer.close()
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b"first second"
    stream.abort()
    await asyncio.sleep(0)


async def test_an_end_before_the_first_bytes_is_an_error() -> None:
    stream, peer = await connected()
    peer.close()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(stream.ready, PATIENCE)
    assert stream.is_closing()
    with pytest.raises(ConnectionResetError):
        stream.start(asyncio.Protocol())
