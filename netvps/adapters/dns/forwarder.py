"""Questions about the rest of the world, put to the machine's own resolvers from the machine itself."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Final, Protocol

import structlog

from netvps.adapters.dns import exchange
from netvps.adapters.dns.wire import Query, failed, failure, fitted

SECONDS: Final = 4.5
"""For all tries together: who asks gives up, or asks again, after 5."""
_ROUNDS = 2
_PORT = 53
log = structlog.get_logger()


class Resolvers(Protocol):
    """Where to ask."""

    async def servers(self, *, without: Collection[str]) -> tuple[str, ...]:
        """Addresses, the first choice first, but none of those in `without`."""


class Forwarder:
    """Asks one after the other, twice, and begins with the one that answered last."""

    def __init__(self, resolvers: Resolvers, *, port: int = _PORT) -> None:
        self._resolvers = resolvers
        self._port = port
        self._best = ""
        self._silent = False

    async def ask(self, query: Query, *, without: Collection[str]) -> bytes:
        """The answer, within `SECONDS`: that none was to be had, if need be."""
        reply: bytes | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                servers = await self._resolvers.servers(without=without)
                reply = await self._first_reply(query, sorted(servers, key=lambda server: server != self._best))
        self._note(silent=reply is None)
        return failure(query) if reply is None else fitted(query, reply)

    async def _first_reply(self, query: Query, servers: list[str]) -> bytes | None:
        """The first that tells something, else one that says it failed; None if nobody said anything."""
        excuse: bytes | None = None
        for server in servers * _ROUNDS:
            try:
                async with asyncio.timeout(SECONDS / (_ROUNDS * len(servers))):
                    reply = await exchange.ask(server, self._port, query.wire)
            except (OSError, TimeoutError):
                continue
            if not failed(reply):
                self._best = server
                return reply
            excuse = reply
        return excuse

    def _note(self, *, silent: bool) -> None:
        """Once for each time that it begins."""
        if silent and not self._silent:
            log.warning("none of this machine's resolvers answers; names outside the overlay cannot be resolved")
        self._silent = silent
