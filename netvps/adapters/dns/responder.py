"""What to say to whom: names of the overlay on the spot, all else after a while.

Who is neither in the subnet nor the machine itself is not answered at all, whatever it asks: packets with a false
source find no echo here. The machine is told names of the overlay only: it has resolvers of its own, and they may be
asking for it, so to ask them in turn might go on for ever.
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
    """`names` and `subnet` change with the netmap."""

    forwarder: Forwarder
    names: Names
    subnet: IPv4Network

    shares: Shares = field(default_factory=lambda: Shares(total=_FORWARDED, each=_FORWARDED_EACH))

    def serves(self, asker: str) -> bool:
        """Whether an address gets answers."""
        return IPv4Address(asker) in self.subnet

    def at_once(self, wire: bytes, asker: str, *, stream: bool) -> bytes | Query | None:
        """The answer; or the question, if others have to be asked (`later`); or None, for silence."""
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
        """The answer of the machine's resolvers; None, at once, for one who has too many questions open."""
        if not self.shares.take(asker):
            return None
        try:
            return await self.forwarder.ask(query, without={self.names.bridge})
        finally:
            self.shares.give(asker)
