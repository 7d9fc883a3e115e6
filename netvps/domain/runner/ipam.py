"""Allocation of subnets: from the overlay's pool, and for the isolated networks of owners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final

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


_SIZES: Final = (("172.30.0.0/17", 22), ("172.30.128.0/18", 24), ("172.30.192.0/18", 26))
"""Parts of NETWORK_SUBNET and the prefix length used in each: 32 owners with up to 1,021 sessions each (a bridge
has at most 1,023 ports), 64 more with up to 253, and 256 more with up to 61.
"""


def free_subnets(taken: Iterable[str]) -> Iterator[str]:
    """Subnets for an owner's network that overlap none of `taken` (CIDR; IPv6 ones are ignored): large ones first."""
    others = [IPv4Network(cidr, strict=False) for cidr in taken if ":" not in cidr]
    for part, prefix in _SIZES:
        for subnet in IPv4Network(part).subnets(new_prefix=prefix):
            if not any(subnet.overlaps(other) for other in others):
                yield str(subnet)
