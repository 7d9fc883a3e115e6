"""Source subnets of runners as nftables sets: the MAC of each runner with its subnet.

subnets    MAC . first address    subnets as large as the local one; the source is masked for the lookup
sources    MAC . prefix           all others, which exist if the pool's settings were changed

An interval set of prefixes for all is avoided, because the kernel takes 18 ms to remove one element of thousands.
`sources` keeps the name it had when it held all subnets, so that the entries of an earlier version stay valid while
rules are only added (docs/adr/0015-filter-without-nft.md).
"""

from __future__ import annotations

from typing import Final

from netvps.adapters.filter.rules.nft import Set
from netvps.domain.overlay.fabric import endpoint_address
from netvps.domain.overlay.view import View

_TYPE: Final = "ether_addr . ipv4_addr"


def by_mask(view: View) -> Set:
    """Peers whose subnets are as large as the local one."""
    peers = (peer for peer in view.peers() if view.same_size(peer.lease.cidr))
    return Set(_TYPE, frozenset(f"{peer.mac} . {endpoint_address(peer.lease.cidr)}" for peer in peers))


def by_prefix(view: View) -> Set:
    """All other peers."""
    peers = (peer for peer in view.peers() if not view.same_size(peer.lease.cidr))
    return Set(_TYPE, frozenset(f"{peer.mac} . {peer.lease.cidr}" for peer in peers), interval=True)
