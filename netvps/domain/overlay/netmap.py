"""The netmap: which runners are on the overlay and which sessions are where.

The control plane sends it to every runner.

It is sent as updates. The first ones of a connection either continue from the generation that the runner has, or begin
with a `reset`. The map is complete when `caught_up` arrives, and is applied only then; applying half a map would
remove the other half. A digest of the whole map comes with it and is returned in every heartbeat; if the two differ,
the full map is sent again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeVar

from netvps.domain.runner.runner import Lease, Underlay

_DIGEST_BYTES: Final = 16
_DIGEST_RANGE: Final = 1 << (8 * _DIGEST_BYTES)
_STEPS: Final = 64
"""Number of updates that a map remembers; a reader further behind compares the full maps."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A runner on the overlay."""

    runner: str
    """Uid."""
    name: str
    lease: Lease
    mac: str
    """MAC of its VXLAN device."""
    underlay: Underlay
    gateway: bool = False
    """Whether it runs a gateway, which may reach the SSH server of every session."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A session with an address."""

    session: str
    """Uid."""
    name: str
    owner: str
    address: str
    runner: str = ""
    """Uid of the runner that it moved to with its address; '': it is on the runner whose subnet contains the address.
    """


@dataclass(frozen=True, slots=True)
class NetmapUpdate:
    """The changes up to `generation`, a revision of the change log."""

    generation: int
    peers: tuple[Peer, ...] = ()
    """New or changed."""
    endpoints: tuple[Endpoint, ...] = ()
    """New or changed."""
    gone_peers: tuple[str, ...] = ()
    """Uids of runners that left the overlay."""
    gone_endpoints: tuple[str, ...] = ()
    """Uids of sessions that have no address any more."""
    reset: bool = False
    """Discards the earlier map: the full map follows, from this update to the next one with `caught_up`."""
    caught_up: bool = False
    """The map is complete with this update."""
    digest: str = ""
    """`Netmap.digest` after this update, if `caught_up` is set."""


@dataclass(slots=True)
class Touched:
    """Uids of changed runners and sessions."""

    peers: set[str] = field(default_factory=set)
    endpoints: set[str] = field(default_factory=set)

    def add(self, other: Touched) -> None:
        """Adds those of another."""
        self.peers |= other.peers
        self.endpoints |= other.endpoints

    def __bool__(self) -> bool:
        return bool(self.peers or self.endpoints)


@dataclass(frozen=True, slots=True)
class Netmap:
    """The overlay at a generation; peers by uid of the runner, endpoints by uid of the session."""

    generation: int = 0
    peers: Mapping[str, Peer] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    _sum: int = 0
    _steps: tuple[Touched, ...] = field(default=(), compare=False, repr=False)
    """What each of the last updates touched. Compared by identity, since each entry belongs to one map's history."""

    @property
    def digest(self) -> str:
        """Equal for the same peers and endpoints, independent of the order and number of updates."""
        return f"{self._sum:0{2 * _DIGEST_BYTES}x}"

    def updated(self, update: NetmapUpdate) -> Self:
        """The map after an update."""
        if update.reset:
            return type(self)().updated(replace(update, reset=False))
        peers, more = _changed(self.peers, {peer.runner: peer for peer in update.peers}, update.gone_peers)
        endpoints, most = _changed(
            self.endpoints, {end.session: end for end in update.endpoints}, update.gone_endpoints
        )
        touched = Touched(
            {*update.gone_peers, *(peer.runner for peer in update.peers)},
            {*update.gone_endpoints, *(end.session for end in update.endpoints)},
        )
        steps = (*self._steps[1 - _STEPS :], touched)
        total = (self._sum + more + most) % _DIGEST_RANGE
        return replace(self, generation=update.generation, peers=peers, endpoints=endpoints, _sum=total, _steps=steps)

    def since(self, known: Netmap) -> Touched | None:
        """What may differ from `known`; None if `known` is too old, or not an earlier version of this map."""
        touched = Touched()
        for step in reversed(self._steps):
            if known._steps and step is known._steps[-1]:
                return touched
            touched.add(step)
        return None


def whole(netmap: Netmap) -> NetmapUpdate:
    """The update that turns any map into this one."""
    peers, endpoints = tuple(netmap.peers.values()), tuple(netmap.endpoints.values())
    return NetmapUpdate(netmap.generation, peers, endpoints, reset=True)


def in_parts(update: NetmapUpdate, digest: str, size: int) -> list[NetmapUpdate]:
    """Splits an update into parts of at most `size` entries, to be applied in order; the last part is `caught_up`."""
    entries = [(name, entry) for name in _ENTRIES for entry in getattr(update, name)]
    pieces = [entries[start : start + size] for start in range(0, len(entries), size)] or [[]]
    parts = []
    for number, piece in enumerate(pieces, 1):
        chosen: dict[str, Any] = {name: tuple(entry for of, entry in piece if of == name) for name in _ENTRIES}
        parts.append(NetmapUpdate(update.generation, **chosen, reset=update.reset and number == 1))
    parts[-1] = replace(parts[-1], caught_up=True, digest=digest)
    return parts


def holders(ends: Iterable[Endpoint]) -> list[Endpoint]:
    """One session per address. Addresses are unique; if a map has duplicates, the newest session wins."""
    newest: dict[str, Endpoint] = {}
    for end in ends:
        if newest.setdefault(end.address, end).session < end.session:
            newest[end.address] = end
    return list(newest.values())


def addresses_by_owner(local: Iterable[Endpoint], everywhere: Iterable[Endpoint]) -> dict[str, frozenset[str]]:
    """The addresses `everywhere` of all owners that have `local` sessions."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    owners = {end.owner for end in local}
    for end in everywhere:
        if end.owner in owners:
            found[end.owner].add(end.address)
    return {owner: frozenset(addresses) for owner, addresses in found.items()}


_ENTRIES: Final = ("gone_peers", "gone_endpoints", "peers", "endpoints")
V = TypeVar("V", Peer, Endpoint)


def _changed(known: Mapping[str, V], new: Mapping[str, V], gone: tuple[str, ...]) -> tuple[Mapping[str, V], int]:
    """The entries after the change, and the change of the sum of their digests."""
    if not new and not gone:
        return known, 0  # avoids copying up to 100,000 entries
    after = dict(known)
    before = sum(_digest(after.pop(key)) for key in {*gone, *new} if key in after)
    after.update(new)
    return after, sum(map(_digest, new.values())) - before


def _digest(entry: Peer | Endpoint) -> int:
    """Digest of the fields that other runners use; not of the revision of the lease's row."""
    fields: tuple[object, ...]
    if isinstance(entry, Peer):
        lease, underlay = entry.lease, entry.underlay
        fields = (entry.runner, entry.name, lease.cidr, lease.epoch, entry.mac, underlay.addresses, underlay.mtu)
        fields += (entry.gateway,)
    else:
        fields = (entry.session, entry.name, entry.owner, entry.address)
        fields += (entry.runner,) if entry.runner else ()
    return int.from_bytes(hashlib.blake2b(repr(fields).encode(), digest_size=_DIGEST_BYTES).digest())
