"""The difference of two views of one runner, as two small views that differ in the same way.

The kernel state of a view is a sum: each peer and each session contributes its own routes, neighbours and set
elements. So an incremental update plans only the changed entries, before and after, at a cost independent of the
total. Two parts are not sums. First, resources with several claimants (a subnet, an address): which claimant wins
depends on all of them, so `follow` returns None and the caller plans the full view. Second, the sets of an owner,
which exist while one of its sessions is on this runner: to keep them, one unchanged local session of that owner is
included in both views, or, if there is none, all sessions of that owner. A session that moved with its address
depends on its runner's peer: each is included where the other is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

from netvps.domain.overlay.netmap import Endpoint, Netmap, Peer, Touched
from netvps.domain.overlay.view import View

V = TypeVar("V", Peer, Endpoint)


@dataclass(frozen=True, slots=True)
class Change:
    """A change from one view to the next."""

    since: View
    """The full previous view."""
    old: View
    """The affected part of the previous view."""
    new: View
    """The affected part of the next view."""


class Tracker:
    """Compares consecutive views of one runner. The cost depends on the size of the change only."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._claims: Counter[str] = Counter()
        """Number of peers and sessions that claim each exclusive resource."""
        self._owned: defaultdict[str, set[str]] = defaultdict(set)
        """Uids of sessions by owner."""
        self._moved: defaultdict[str, set[str]] = defaultdict(set)
        """Uids of sessions that moved with their address, by their runner."""

    def follow(self, view: View) -> Change | None:
        """The difference from the view of the last call; None if the caller has to compare the full views."""
        since, self._view = self._view, view
        touched = view.netmap.since(since.netmap) if since and replace(since, netmap=view.netmap) == view else None
        if since is None or touched is None:
            self._begin(view.netmap)
            return None
        old, new = _part(since.netmap, touched), _part(view.netmap, touched)
        # Entries may be planned alone only if they shared no resource before the change, and share none after it.
        apart = self._apart(old)
        self._forget(old)
        others = self._others(view, touched, old, new)
        self._learn(new)
        if not apart or not self._apart(_plus(new, others)):
            return None
        return Change(since, _with(since, old, others), _with(view, new, others))

    def _begin(self, netmap: Netmap) -> None:
        self._claims.clear()
        self._owned.clear()
        self._moved.clear()
        self._learn(netmap)

    def _learn(self, part: Netmap) -> None:
        self._claims.update(_claims(part))
        for end in part.endpoints.values():
            self._owned[end.owner].add(end.session)
            if end.runner:
                self._moved[end.runner].add(end.session)

    def _forget(self, part: Netmap) -> None:
        self._claims.subtract(_claims(part))
        for claim in _claims(part):
            if not self._claims[claim]:
                del self._claims[claim]
        for end in part.endpoints.values():
            self._owned[end.owner].discard(end.session)
            if not self._owned[end.owner]:
                del self._owned[end.owner]
            self._moved[end.runner].discard(end.session)
            if not self._moved[end.runner]:
                del self._moved[end.runner]

    def _apart(self, part: Netmap) -> bool:
        """Whether every claim of this part has exactly one claimant."""
        return all(self._claims[claim] == 1 for claim in _claims(part))

    def _others(self, view: View, touched: Touched, old: Netmap, new: Netmap) -> Netmap:
        """Unchanged entries on which the result for the changed ones depends: see the module's docstring."""
        endpoints, changed = view.netmap.endpoints, [*old.endpoints.values(), *new.endpoints.values()]
        others = {uid: endpoints[uid] for peer in touched.peers for uid in self._moved.get(peer, ())}
        for owner in {end.owner for end in changed}:
            rest = self._owned.get(owner, set())
            if witness := next((uid for uid in rest if view.holds(endpoints[uid])), None):
                others[witness] = endpoints[witness]
            elif any(end.owner == owner and view.holds(end) for end in changed):
                others |= {uid: endpoints[uid] for uid in rest}
        runners = {end.runner for end in (*changed, *others.values())} - touched.peers
        return Netmap(peers=_of(view.netmap.peers, runners), endpoints=others)


def _part(netmap: Netmap, touched: Touched) -> Netmap:
    return Netmap(netmap.generation, _of(netmap.peers, touched.peers), _of(netmap.endpoints, touched.endpoints))


def _of(entries: Mapping[str, V], uids: Iterable[str]) -> dict[str, V]:
    return {uid: entries[uid] for uid in uids if uid in entries}


def _plus(part: Netmap, others: Netmap) -> Netmap:
    return replace(part, peers={**part.peers, **others.peers}, endpoints={**part.endpoints, **others.endpoints})


def _with(view: View, part: Netmap, others: Netmap) -> View:
    return replace(view, netmap=_plus(part, others))


def _claims(netmap: Netmap) -> Iterable[str]:
    """The exclusive resources: each subnet's first address, each peer's MAC, each session's address."""
    peers = ((peer.lease.cidr.partition("/")[0], peer.mac) for peer in netmap.peers.values())
    return chain(chain.from_iterable(peers), (end.address for end in netmap.endpoints.values()))
