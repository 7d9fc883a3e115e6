"""The table of the servers that share the database, which no log of revisions follows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from netvps.adapters.store.tables import server
from netvps.domain.peer_server import PeerServer

if TYPE_CHECKING:
    from netvps.adapters.store.connection import Connection


async def renew(connection: Connection, own: PeerServer, lease: timedelta) -> list[PeerServer]:
    """Stores that a server runs for another `lease`, forgets those that do not any more, and returns the others."""
    now = await connection.micros()
    expiry = now + lease // timedelta(microseconds=1)
    later = update(server).where(server.c.uid == own.uid).values(address=own.address, expiry=expiry)
    if await connection.change(later) == 0:
        await connection.run(insert(server).values(uid=own.uid, address=own.address, expiry=expiry))
    await connection.run(delete(server).where(server.c.expiry < now))
    rows = await connection.run(select(server).where(server.c.uid != own.uid).order_by(server.c.uid))
    return [PeerServer(row.uid, row.address) for row in rows]


async def forget(connection: Connection, uid: str) -> None:
    """Removes a server that ends."""
    await connection.run(delete(server).where(server.c.uid == uid))
