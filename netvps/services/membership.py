"""Keeps this server in the table of the servers that share the database, and knows the other ones."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from netvps.domain.peer_server import PeerServer
    from netvps.services.ports import ServerRows

LEASE: Final = timedelta(seconds=15)
"""After it, a server that does not renew counts as gone."""
_GOODBYE: Final = 2.0
"""Seconds for the removal of the row at the end; without it, the lease ends by itself."""
log = structlog.get_logger()


class Membership:
    """Renews the lease; `run` is a task of the program. While the database is away, the servers last known stay."""

    def __init__(self, rows: ServerRows, own: PeerServer, meet: Callable[[Collection[PeerServer]], None]) -> None:
        """`meet` is called with the other servers, at each renewal."""
        self._rows, self._own, self._meet = rows, own, meet
        self._due = asyncio.Event()

    def look(self) -> None:
        """Renews now: another server called that this one does not know."""
        self._due.set()

    async def run(self) -> None:
        """Renews until cancelled, then removes the server."""
        try:
            while True:
                self._due.clear()
                try:
                    self._meet(await self._rows.renew_server(self._own, LEASE))
                except NetvpsError as error:
                    log.warning("cannot renew the lease of this server; trying again", error=error.message)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LEASE.total_seconds() / 3):
                        await self._due.wait()
        finally:
            with suppress(NetvpsError, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._rows.forget_server(self._own.uid)
