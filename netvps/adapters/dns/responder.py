"""Decides what to answer to whom: overlay names at once, other names by asking the resolvers.

Addresses of no session here get no answer at all, so packets with a spoofed source are not reflected. The machine
itself gets overlay names only: it has its own resolvers, which may be asking on its behalf, so forwarding to them could
loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from netvps.adapters.dns.forwarder import Forwarder
from netvps.adapters.dns.shares import Shares
from netvps.adapters.dns.wire import Query, read, refusal, written
from netvps.domain.overlay.dns import Names

_FORWARDED, _FORWARDED_EACH = 512, 64


@dataclass(slots=True)
class Responder:
    """Answers questions; all but the forwarder change with the netmap."""

    forwarder: Forwarder
    names: Names
    subnet: IPv4Network
    runner: str
    """Uid of this runner: sessions that moved here with their address name it."""

    shares: Shares = field(default_factory=lambda: Shares(total=_FORWARDED, each=_FORWARDED_EACH))

    def serves(self, asker: str) -> bool:
        """Reports whether an address gets answers."""
        if IPv4Address(asker) in self.subnet:
            return True
        found = self.names.directory.at(asker)
        return found is not None and found.runner == self.runner

    def at_once(self, wire: bytes, asker: str, *, stream: bool) -> bytes | Query | None:
        """Returns the answer; or the query, if it must be forwarded (`later`); or None to stay silent."""
        if not self.serves(asker):
            return None
        query = read(wire, stream=stream)
        if not isinstance(query, Query):
            return query
        answer = self.names.answer(asker, query.name, query.kind)
        if answer:
            return written(query, answer)
        return refusal(query) if asker == self.names.bridge else query

    async def later(self, query: Query, asker: str) -> bytes | None:
        """Forwards a query; returns None at once for a client with too many open ones."""
        if not self.shares.acquire(asker):
            return None
        try:
            return await self.forwarder.ask(query, without={self.names.bridge})
        finally:
            self.shares.release(asker)
