"""What the gateway hears of connections that the relay passes on unread."""

from __future__ import annotations

import asyncio
import socket

from netvps.gateway.relay import wire
from netvps.gateway.relay.carried import Carried
from netvps.gateway.relay.wire import Kind
from tests.support.patience import PATIENCE


async def test_counts_come_at_the_end_and_an_abort_asks_for_it() -> None:
    carried, (ours, theirs) = Carried(), socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.create_unix_connection(lambda: carried, sock=ours)
    carried.abort()
    carried.abort()
    assert await loop.sock_recv(theirs, 1) == b""
    counts = (7).to_bytes(8, "big") + (9).to_bytes(8, "big")
    await loop.sock_sendall(theirs, wire.encode(Kind.COUNTS, 0, counts))
    theirs.close()
    async with asyncio.timeout(PATIENCE):
        await carried.closed.wait()
    assert (carried.received, carried.sent) == (7, 9)
    carried.abort()
