"""Chooses the subnet of an owner's isolated network: large ones first, then a larger number of smaller ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from typing import Final

_SIZES: Final = (("172.30.0.0/17", 22), ("172.30.128.0/18", 24), ("172.30.192.0/18", 26))
"""Parts of NETWORK_SUBNET and the prefix length used in each: 32 owners with up to 1,021 sessions each (a bridge
has at most 1,023 ports), 64 more with up to 253, and 256 more with up to 61.
"""


def free_subnets(taken: Iterable[str]) -> Iterator[str]:
    """Subnets that overlap none of `taken` (CIDR; IPv6 ones are ignored), in order of preference."""
    others = [IPv4Network(cidr, strict=False) for cidr in taken if ":" not in cidr]
    for part, prefix in _SIZES:
        for subnet in IPv4Network(part).subnets(new_prefix=prefix):
            if not any(subnet.overlaps(other) for other in others):
                yield str(subnet)
