"""Owners as sets of addresses, and a chain per owner that accepts only packets between its own sessions.

owners     ip → jump owner-ann    sessions on this machine
receivers  ip → jump to-owner-ann the same, for packets that arrive from other machines
owner-ann  ip                     all addresses of the owner, on any machine

An address that led to an owner's chain belongs to that owner, so the chain checks only the other address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from netvps.adapters.filter.rules.nft import Chain, Set, Table
from netvps.domain.names import USER_NAME_MAX, check_label
from netvps.domain.overlay.netmap import Endpoint

_TO: Final = "to-"


def owner_table(
    local: Iterable[Endpoint],
    addresses: Mapping[str, frozenset[str]],
    rules: tuple[str, ...],
    arriving: tuple[str, ...] = (),
) -> Table:
    """Sets and chains of owners with these `addresses`; in `rules`, {name} is the owner's set.

    `arriving` are rules for packets matched by their destination: they add the map `receivers` and a chain per owner.
    """
    ends = list(local)
    names = {owner_name(owner): owned for owner, owned in addresses.items()}
    maps, chains = {"owners": _jumps(ends, "")}, {name: _chain(rules, name) for name in names}
    if arriving:
        maps["receivers"] = _jumps(ends, _TO)
        chains |= {f"{_TO}{name}": _chain(arriving, name) for name in names}
    return Table(sets=maps | {name: Set("ipv4_addr", owned) for name, owned in names.items()}, chains=chains)


def _jumps(ends: Iterable[Endpoint], prefix: str) -> Set:
    return Set(
        "ipv4_addr : verdict", frozenset(f"{end.address} : jump {prefix}{owner_name(end.owner)}" for end in ends)
    )


def _chain(rules: tuple[str, ...], name: str) -> Chain:
    return Chain(tuple(rule.format(name=name) for rule in rules))


def owner_name(owner: str) -> str:
    """Returns the name of an owner's set and chain.

    Raises InvalidInput for an invalid user name, because nft would parse it.
    """
    return f"owner-{check_label(owner, 'owner', USER_NAME_MAX)}"
