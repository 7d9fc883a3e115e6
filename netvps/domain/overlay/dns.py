"""The DNS zone of the overlay: what a runner's DNS server answers to which client.

NAME.OWNER.nv.internal       a session
NAME.nv.internal             a session of the client's owner
nv.internal                  the bridge that was asked
d.c.b.a.in-addr.arpa         the session with an address of the pool

The answer depends on the client. A session resolves the sessions of its owner only; it could not reach the others
anyway, so to it they do not exist. The machine resolves all sessions. A client whose address belongs to neither is
refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from itertools import compress
from operator import is_not
from typing import Final, TypeVar

from netvps.domain.overlay.netmap import Endpoint, Netmap

ZONE: Final = ("nv", "internal")
TTL: Final = 5
"""Seconds; also the TTL of negative answers."""
_REVERSE: Final = ("in-addr", "arpa")
_OCTETS: Final = 4
_ADDRESS = frozenset({"A", "ANY"})
_POINTER = frozenset({"PTR", "ANY"})

Labels = tuple[str, ...]
"""An absolute name in lower case: ("dev1", "ann", "nv", "internal")."""


K = TypeVar("K")
_Table = dict[K, tuple[Endpoint, ...]]
"""A key has more than one entry only while one session replaces another; the last entry wins."""
_NO_ENDPOINT: Final = (None,)


class Outcome(StrEnum):
    """Result of a query in the zone; the values are those of the protocol."""

    FOUND = "NOERROR"
    """Also for a name without records of the requested type (NODATA)."""
    UNKNOWN = "NXDOMAIN"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Record:
    """A record as in a zone file; `name` is the query's name or the zone."""

    name: Labels
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a query. `authority` is the SOA of a negative answer, which limits how long it is cached."""

    outcome: Outcome
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()


class Directory:
    """Index of sessions by name and by address. An update costs as much as its changes, a lookup is constant."""

    def __init__(self) -> None:
        self._netmap = Netmap()
        self._by_name: _Table[tuple[str, str]] = {}
        self._by_address: _Table[str] = {}
        self._sessions: Counter[str] = Counter()
        """Number of sessions of each owner."""

    def follow(self, netmap: Netmap) -> None:
        """Updates the index to a netmap."""
        touched = netmap.since(self._netmap)
        known, endpoints = self._netmap.endpoints, netmap.endpoints
        self._netmap = netmap
        if touched is not None:
            known, endpoints = ({uid: of[uid] for uid in touched.endpoints if uid in of} for of in (known, endpoints))
        for end in _only(known, endpoints):
            _remove(self._by_name, (end.owner, end.name), end)
            _remove(self._by_address, end.address, end)
            self._sessions[end.owner] -= 1
        for end in _only(endpoints, known):
            _add(self._by_name, (end.owner, end.name), end)
            _add(self._by_address, end.address, end)
            self._sessions[end.owner] += 1
        self._sessions = +self._sessions

    def named(self, owner: str, name: str) -> Endpoint | None:
        """The session of this owner with this name."""
        return self._by_name.get((owner, name), _NO_ENDPOINT)[-1]

    def at(self, address: str) -> Endpoint | None:
        """The session with this address."""
        return self._by_address.get(address, _NO_ENDPOINT)[-1]

    def knows(self, owner: str) -> bool:
        """Whether an owner has sessions."""
        return owner in self._sessions


@dataclass(frozen=True, slots=True)
class Names:
    """The zone as seen from one runner."""

    directory: Directory
    pool: IPv4Network
    bridge: str
    """Address of the bridge. Queries from this address come from the machine itself."""
    generation: int

    def answer(self, asker: str, name: Labels, kind: str) -> Answer | None:
        """The answer to a query from the address `asker`; None if the name is in none of the overlay's zones."""
        zone = self._zone(name)
        if zone is None:
            return None
        viewer = self.directory.at(asker)
        if viewer is None and asker != self.bridge:
            # Possibly a new session that is not in the netmap yet. REFUSED, because NXDOMAIN would be cached.
            return Answer(Outcome.REFUSED)
        owner = viewer.owner if viewer else None
        if name == zone:
            return self._apex(zone, kind)
        if zone == ZONE:
            found, exists = self._forward(name[: -len(ZONE)], owner)
            value, kinds = ("A", found.address if found else ""), _ADDRESS
        else:
            found, exists = self._reverse(name, owner)
            value, kinds = ("PTR", _fqdn((found.name, found.owner, *ZONE)) if found else ""), _POINTER
        if found and kind in kinds:
            return Answer(Outcome.FOUND, (Record(name, *value),))
        return Answer(Outcome.FOUND if found or exists else Outcome.UNKNOWN, authority=(self._soa(zone),))

    def _zone(self, name: Labels) -> Labels | None:
        """The overlay's zone that contains a name: nv.internal, or the reverse zone of the pool."""
        if name[-len(ZONE) :] == ZONE:
            return ZONE
        if name[-len(_REVERSE) :] != _REVERSE:
            return None
        octets = name[: -len(_REVERSE)][::-1]
        whole = -(-self.pool.prefixlen // 8)
        network = _network(octets[:_OCTETS][:whole])
        if len(octets) < whole or network is None or not network.subnet_of(self.pool):
            return None
        return name[-(len(_REVERSE) + whole) :]

    def _apex(self, zone: Labels, kind: str) -> Answer:
        records = (
            self._soa(zone),
            Record(zone, "NS", _fqdn(ZONE)),
            *((Record(zone, "A", self.bridge),) if zone == ZONE else ()),
        )
        asked = tuple(record for record in records if kind in {record.type, "ANY"})
        return Answer(Outcome.FOUND, asked, () if asked else (self._soa(zone),))

    def _forward(self, name: Labels, owner: str | None) -> tuple[Endpoint | None, bool]:
        """The session with a name, and whether the name exists without a record, as that of an owner does."""
        match name:
            case (one,):
                mine = self.directory.named(owner, one) if owner else None
                return mine, self.directory.knows(one) and owner in {one, None}
            case (one, its_owner) if owner in {its_owner, None}:
                return self.directory.named(its_owner, one), False
        return None, False

    def _reverse(self, name: Labels, owner: str | None) -> tuple[Endpoint | None, bool]:
        """The session with an address, and whether the name exists without a record, as that of a network does."""
        octets = name[: -len(_REVERSE)][::-1]
        network = _network(octets)
        if network is None or len(octets) < _OCTETS:
            return None, network is not None
        found = self.directory.at(str(network.network_address))
        return (found if found and owner in {found.owner, None} else None), False

    def _soa(self, zone: Labels) -> Record:
        """The SOA record; its last field limits how long a negative answer is cached (RFC 2308)."""
        serial = self.generation % (1 << 32)
        return Record(zone, "SOA", f"{_fqdn(ZONE)} {_fqdn(('hostmaster', *ZONE))} {serial} 60 60 3600 {TTL}")


def _network(octets: Labels) -> IPv4Network | None:
    """The network of one to four octets; None unless they are written as in DNS (not "08", "x" or "256")."""
    if not 0 < len(octets) <= _OCTETS:
        return None
    try:
        address = IPv4Address(".".join((*octets, *("0",) * (_OCTETS - len(octets)))))
    except ValueError:
        return None
    return IPv4Network((int(address), 8 * len(octets)))


def _only(these: Mapping[str, Endpoint], those: Mapping[str, Endpoint]) -> list[Endpoint]:
    """The values of `these` that are not the same object in `those`. Runs in C, for up to 100,000 entries."""
    return list(compress(these.values(), map(is_not, these.values(), map(those.get, these))))


def _add(table: _Table[K], key: K, end: Endpoint) -> None:
    table[key] = (*table.get(key, ()), end)


def _remove(table: _Table[K], key: K, end: Endpoint) -> None:
    table[key] = tuple(other for other in table[key] if other is not end)
    if not table[key]:
        del table[key]


def _fqdn(name: Labels) -> str:
    return ".".join(name) + "."
