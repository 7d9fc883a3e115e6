"""How two views of one runner differ, as two small views that differ in just the same way.

What a runner makes of a view is a sum: each peer and each session adds its own routes, neighbours and elements of sets.
So to go from one whole to another it is enough to plan the few that changed, before and after, whatever their number
is. Two things are no sum: what several claim at once (a subnet, an address), where the whole is looked at; and
the sets of an owner, which are there while one of his sessions is on this runner. So one such that did not change comes
along, or, where there is none, all that the owner has.
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
    """From one view to the next."""

    since: View
    """The one before, whole."""
    old: View
    """Of that, those that matter."""
    new: View
    """The same of the next."""


class Tracker:
    """Follows the views of one runner, one after the other. A change costs as much as it is large."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._claims: Counter[str] = Counter()
        """How many peers and sessions claim something that is for one alone."""
        self._owned: defaultdict[str, set[str]] = defaultdict(set)
        """Uids of sessions by owner."""

    def follow(self, view: View) -> Change | None:
        """How this view differs from the one of the last call; None: look at all of it."""
        since, self._view = self._view, view
        touched = view.netmap.since(since.netmap) if since and replace(since, netmap=view.netmap) == view else None
        if since is None or touched is None:
            self._begin(view.netmap)
            return None
        old, new = _part(since.netmap, touched), _part(view.netmap, touched)
        apart = self._apart(old)
        self._forget(old)
        others = self._others(view, old, new)
        self._learn(new)
        if not apart or not self._apart(replace(new, endpoints={**new.endpoints, **others})):
            return None
        return Change(since, _with(since, old, others), _with(view, new, others))

    def _begin(self, netmap: Netmap) -> None:
        self._claims.clear()
        self._owned.clear()
        self._learn(netmap)

    def _learn(self, part: Netmap) -> None:
        self._claims.update(_claims(part))
        for end in part.endpoints.values():
            self._owned[end.owner].add(end.session)

    def _forget(self, part: Netmap) -> None:
        self._claims.subtract(_claims(part))
        for claim in _claims(part):
            if not self._claims[claim]:
                del self._claims[claim]
        for end in part.endpoints.values():
            self._owned[end.owner].discard(end.session)
            if not self._owned[end.owner]:
                del self._owned[end.owner]

    def _apart(self, part: Netmap) -> bool:
        """Whether each has for itself what it claims."""
        return all(self._claims[claim] == 1 for claim in _claims(part))

    def _others(self, view: View, old: Netmap, new: Netmap) -> dict[str, Endpoint]:
        """Sessions that did not change, but that decide on what becomes of those that did."""
        others: dict[str, Endpoint] = {}
        changed = [*old.endpoints.values(), *new.endpoints.values()]
        endpoints = view.netmap.endpoints
        for owner in {end.owner for end in changed}:
            rest = self._owned.get(owner, set())
            if witness := next((uid for uid in rest if view.holds(endpoints[uid])), None):
                others[witness] = endpoints[witness]
            elif any(end.owner == owner and view.holds(end) for end in changed):
                others |= {uid: endpoints[uid] for uid in rest}
        return others


def _part(netmap: Netmap, touched: Touched) -> Netmap:
    return Netmap(netmap.generation, _of(netmap.peers, touched.peers), _of(netmap.endpoints, touched.endpoints))


def _of(entries: Mapping[str, V], uids: Iterable[str]) -> dict[str, V]:
    return {uid: entries[uid] for uid in uids if uid in entries}


def _with(view: View, part: Netmap, others: Mapping[str, Endpoint]) -> View:
    return replace(view, netmap=replace(part, endpoints={**part.endpoints, **others}))


def _claims(netmap: Netmap) -> Iterable[str]:
    """What is for one alone: a subnet's first address, a MAC, an address."""
    peers = ((peer.lease.cidr.partition("/")[0], peer.mac) for peer in netmap.peers.values())
    return chain(chain.from_iterable(peers), (end.address for end in netmap.endpoints.values()))
