"""Bytes go both ways; each direction ends by itself, and both connections end with the relay."""

from __future__ import annotations

import asyncio
import socket

import pytest

from netvps.relay import Connection, relay


async def _pair() -> tuple[Connection, Connection]:
    """Two ends of one connection: the relay's, and the test's."""
    here, there = socket.socketpair()
    return await asyncio.open_connection(sock=here), await asyncio.open_connection(sock=there)


async def test_one_direction_continues_after_the_other_has_ended() -> None:
    (one, client), (other, server) = await _pair(), await _pair()
    running = asyncio.create_task(relay(one, other))
    client[1].write(b"question")
    client[1].write_eof()
    assert await server[0].read() == b"question"
    server[1].write(b"answer")
    server[1].close()
    assert await client[0].read() == b"answer"
    await running
    client[1].close()


async def test_a_side_that_fails_ends_the_other() -> None:
    (one, client), (other, server) = await _pair(), await _pair()
    running = asyncio.create_task(relay(one, other))
    client[1].write(b"x")
    assert await server[0].read(1) == b"x"
    one[0].set_exception(ConnectionResetError())
    await running
    assert await server[0].read() == b""
    for end in (client, server):
        end[1].close()


async def test_a_cancelled_relay_closes_both() -> None:
    (one, client), (other, server) = await _pair(), await _pair()
    running = asyncio.create_task(relay(one, other))
    client[1].write(b"x")
    assert await server[0].read(1) == b"x"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await client[0].read() == await server[0].read() == b""
    for end in (client, server):
        end[1].close()
