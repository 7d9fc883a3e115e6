"""Forwards questions about names outside the overlay to the machine's own resolvers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Final, Protocol

import structlog

from netvps.adapters.dns import exchange
from netvps.adapters.dns.wire import Query, failed, failure, fitted

SECONDS: Final = 4.5
"""Limit for all attempts together: clients give up or retry after 5 s."""
_ROUNDS = 2
_PORT = 53
log = structlog.get_logger()


class Resolvers(Protocol):
    """Provides the addresses of resolvers."""

    async def servers(self, *, without: Collection[str]) -> tuple[str, ...]:
        """Returns addresses in order of preference, except those in `without`."""


class Forwarder:
    """Asks the resolvers one after the other, twice; starts with the one that answered last."""

    def __init__(self, resolvers: Resolvers, *, port: int = _PORT) -> None:
        self._resolvers = resolvers
        self._port = port
        self._best = ""
        self._silent = False

    async def ask(self, query: Query, *, without: Collection[str]) -> bytes:
        """Returns the answer within `SECONDS`; SERVFAIL if there is none."""
        reply: bytes | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                servers = await self._resolvers.servers(without=without)
                reply = await self._first_reply(query, sorted(servers, key=lambda server: server != self._best))
        self._note(silent=reply is None)
        return failure(query) if reply is None else fitted(query, reply)

    async def _first_reply(self, query: Query, servers: list[str]) -> bytes | None:
        """Returns the first useful reply, else one that reports a failure; None if no resolver replied."""
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
        """Logs the begin of each outage once."""
        if silent and not self._silent:
            log.warning(
                "none of this machine's resolvers answers; sessions cannot resolve names outside the overlay; check "
                "/etc/resolv.conf"
            )
        self._silent = silent
