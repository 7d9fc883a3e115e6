"""What runners may speak for, as sets of nftables: each one's MAC with its subnet.

subnets    MAC . first address    where the subnet is as large as ours; a source is looked up by its first bits
sources    MAC . prefix           of the rest, which are there where the pool's settings were once others

Not all are prefixes: to remove one of thousands takes the kernel 18 ms. `sources` is called as it was when all were: so
whom a runner of an earlier version let in is let in while rules are only added (docs/adr/0015-filter-without-nft.md).
"""

from __future__ import annotations

from typing import Final

from netvps.domain.overlay.fabric import endpoint_address
from netvps.domain.overlay.nft import Set
from netvps.domain.overlay.subnets import alike
from netvps.domain.overlay.view import View

_TYPE: Final = "ether_addr . ipv4_addr"


def by_mask(view: View) -> Set:
    """Of the peers whose subnets are as large as ours."""
    peers = (peer for peer in view.peers() if alike(view, peer.lease.cidr))
    return Set(_TYPE, frozenset(f"{peer.mac} . {endpoint_address(peer.lease.cidr)}" for peer in peers))


def by_prefix(view: View) -> Set:
    """Of the others."""
    peers = (peer for peer in view.peers() if not alike(view, peer.lease.cidr))
    return Set(_TYPE, frozenset(f"{peer.mac} . {peer.lease.cidr}" for peer in peers), interval=True)
