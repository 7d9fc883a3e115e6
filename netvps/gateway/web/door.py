"""Limits connections before a request has come: in all, and by source address."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Final, cast

from netvps.domain.access.admission import source_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp import web

CONNECTIONS: Final = 1024
CONNECTIONS_PER_SOURCE: Final = 64
"""Not of this machine and of listed proxies, from which all people come."""


class Door:
    """Hands new connections to aiohttp's server, which ends those that send no request in time."""

    def __init__(self, server: web.Server, proxies: Collection[str]) -> None:
        self._server, self._proxies = server, proxies

    def protocol(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Arrival(self)

    def admit(self, address: str) -> asyncio.Protocol | None:
        """The protocol that goes on; None if there are too many."""
        if len(self._server.connections) >= CONNECTIONS:
            return None
        if address not in self._proxies and not _is_loopback(address):
            source = source_of(address)
            same = sum(source_of(_peer(each.transport)) == source for each in self._server.connections)
            if same >= CONNECTIONS_PER_SOURCE:
                return None
        return cast("asyncio.Protocol", self._server())


class _Arrival(asyncio.Protocol):
    """A connection until it is admitted."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admits or closes it. Nothing is said to the refused: TLS may be what they speak."""
        transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing
        protocol = self._door.admit(_peer(transport))
        if protocol is None:
            transport.abort()
            return
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _peer(transport: asyncio.BaseTransport | None) -> str:
    name = transport.get_extra_info("peername") if transport else None
    return str(name[0]) if isinstance(name, tuple) and name else ""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
