"""Owners as sets of addresses, and a chain for each that only packets between two of its own pass.

owners     ip → jump owner-ann    the sessions of this machine
owner-ann  ip                     all that their owner has, wherever
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from netvps.domain.names import USER_NAME_MAX, check_label
from netvps.domain.overlay.netmap import Endpoint
from netvps.domain.overlay.nft import Chain, Set, Table


def holders(ends: Iterable[Endpoint]) -> list[Endpoint]:
    """One for each address: they are unique, and where a map says otherwise the newest session counts."""
    newest: dict[str, Endpoint] = {}
    for end in ends:
        if newest.setdefault(end.address, end).session < end.session:
            newest[end.address] = end
    return list(newest.values())


def addresses_by_owner(local: Iterable[Endpoint], everywhere: Iterable[Endpoint]) -> dict[str, frozenset[str]]:
    """What the owners of the `local` sessions have `everywhere`."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    owners = {end.owner for end in local}
    for end in everywhere:
        if end.owner in owners:
            found[end.owner].add(end.address)
    return {owner: frozenset(addresses) for owner, addresses in found.items()}


def owner_table(local: Iterable[Endpoint], addresses: Mapping[str, frozenset[str]], rules: tuple[str, ...]) -> Table:
    """Sets and chains of owners with these `addresses`; in `rules`, {name} is the owner's set."""
    members = frozenset(f"{end.address} : jump {_name(end.owner)}" for end in local)
    names = {_name(owner): owned for owner, owned in addresses.items()}
    return Table(
        sets={"owners": Set("ipv4_addr : verdict", members)}
        | {name: Set("ipv4_addr", owned) for name, owned in names.items()},
        chains={name: Chain(tuple(rule.format(name=name) for rule in rules)) for name in names},
    )


def _name(owner: str) -> str:
    """Of the owner's set and chain. Raises InvalidInput for what is no name of a user: it would be read by nft."""
    return f"owner-{check_label(owner, 'owner', USER_NAME_MAX)}"
