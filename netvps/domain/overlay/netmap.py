"""The netmap: which runners are on the overlay and which sessions are where, as the control plane tells every runner.

It travels as updates. The first of a connection are either those since the generation that the runner knows, or begin
with a `reset`; the map is whole when `caught_up` comes, and only then is it acted upon, so that half a map removes
nothing. A digest of the whole comes with it and goes back with every heartbeat: where the two differ, the map is sent
anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeVar

from netvps.domain.runner import Lease, Underlay

_DIGEST_BYTES: Final = 16
_DIGEST_RANGE: Final = 1 << (8 * _DIGEST_BYTES)
_STEPS: Final = 64
"""Updates that are remembered; who is further behind looks at all of the map."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A runner on the overlay."""

    runner: str
    """Uid."""
    name: str
    lease: Lease
    mac: str
    """Of its VXLAN device."""
    underlay: Underlay
    gateway: bool = False
    """People come in there: it may reach the SSH server of every session."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A session with an address; the subnet that holds the address says on which runner it is."""

    session: str
    """Uid."""
    name: str
    owner: str
    address: str


@dataclass(frozen=True, slots=True)
class NetmapUpdate:
    """What changed up to `generation`, a revision of the log."""

    generation: int
    peers: tuple[Peer, ...] = ()
    """New, or changed."""
    endpoints: tuple[Endpoint, ...] = ()
    """New, or changed."""
    gone_peers: tuple[str, ...] = ()
    """Uids of runners that are not on the overlay any more."""
    gone_endpoints: tuple[str, ...] = ()
    """Uids of sessions that have no address any more."""
    reset: bool = False
    """What was known before counts no more: the whole map follows, from this update to the next that is caught up."""
    caught_up: bool = False
    """With this update the map is whole."""
    digest: str = ""
    """`Netmap.digest` after this update, if it is caught up."""


@dataclass(slots=True)
class Touched:
    """Runners and sessions of which there is news, by uid."""

    peers: set[str] = field(default_factory=set)
    endpoints: set[str] = field(default_factory=set)

    def add(self, other: Touched) -> None:
        """Those, too."""
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
    """What each of the last updates touched; by identity: each is that of one map alone."""

    @property
    def digest(self) -> str:
        """The same for the same peers and endpoints, in whatever order and by whatever updates they came."""
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
        """Who may be another than in `known`; None if all may: it is no map of before, or was so long ago."""
        touched = Touched()
        for step in reversed(self._steps):
            if known._steps and step is known._steps[-1]:
                return touched
            touched.add(step)
        return None


def whole(netmap: Netmap) -> NetmapUpdate:
    """The update that brings whoever knows anything, or nothing, to a map."""
    peers, endpoints = tuple(netmap.peers.values()), tuple(netmap.endpoints.values())
    return NetmapUpdate(netmap.generation, peers, endpoints, reset=True)


def in_parts(update: NetmapUpdate, digest: str, size: int) -> list[NetmapUpdate]:
    """An update as several of at most `size` entries each, to be applied in order; the last is caught up."""
    entries = [(name, entry) for name in _ENTRIES for entry in getattr(update, name)]
    pieces = [entries[start : start + size] for start in range(0, len(entries), size)] or [[]]
    parts = []
    for number, piece in enumerate(pieces, 1):
        chosen: dict[str, Any] = {name: tuple(entry for of, entry in piece if of == name) for name in _ENTRIES}
        parts.append(NetmapUpdate(update.generation, **chosen, reset=update.reset and number == 1))
    parts[-1] = replace(parts[-1], caught_up=True, digest=digest)
    return parts


_ENTRIES: Final = ("gone_peers", "gone_endpoints", "peers", "endpoints")
V = TypeVar("V", Peer, Endpoint)


def _changed(known: Mapping[str, V], new: Mapping[str, V], gone: tuple[str, ...]) -> tuple[Mapping[str, V], int]:
    """What is known then, and by how much the sum of all its digests grew."""
    if not new and not gone:
        return known, 0  # there may be a hundred thousand
    after = dict(known)
    before = sum(_digest(after.pop(key)) for key in {*gone, *new} if key in after)
    after.update(new)
    return after, sum(map(_digest, new.values())) - before


def _digest(entry: Peer | Endpoint) -> int:
    """Of what others need to know of it; the revision of a lease's row is not among that."""
    fields: tuple[object, ...]
    if isinstance(entry, Peer):
        lease, underlay = entry.lease, entry.underlay
        fields = (entry.runner, entry.name, lease.cidr, lease.epoch, entry.mac, underlay.addresses, underlay.mtu)
        fields += (entry.gateway,)
    else:
        fields = (entry.session, entry.name, entry.owner, entry.address)
    return int.from_bytes(hashlib.blake2b(repr(fields).encode(), digest_size=_DIGEST_BYTES).digest())
