"""Allocation of subnets from the overlay's pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netaddr import IPNetwork, IPSet

from netvps.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import Iterable


def allocate(pool: str, prefix: int, taken: Iterable[str]) -> str:
    """The lowest subnet of length `prefix` in `pool` that overlaps none of `taken`, as CIDR. Raises Exhausted."""
    network = IPNetwork(pool)
    free = IPSet(network) - IPSet(IPNetwork(cidr) for cidr in taken)
    for block in free.iter_cidrs():
        if block.prefixlen <= prefix:
            return str(next(block.subnet(prefix)))
    raise Exhausted(
        f"no /{prefix} is left in the overlay's pool {pool}: remove runners that are gone, or set a larger pool",
        reason="POOL_EXHAUSTED",
    )


def room(pool: str, prefix: int, taken: Iterable[str]) -> int:
    """Number of subnets of length `prefix` in `pool` that overlap none of `taken`."""
    free = IPSet(IPNetwork(pool)) - IPSet(IPNetwork(cidr) for cidr in taken)
    return sum(1 << (prefix - block.prefixlen) for block in free.iter_cidrs() if block.prefixlen <= prefix)
