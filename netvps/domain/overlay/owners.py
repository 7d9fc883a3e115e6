"""Addresses of the sessions of each owner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from netvps.domain.overlay.netmap import Endpoint


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
