"""The fast path for packets between sessions of one owner on two runners: BPF programs that redirect from link to link.

On the regular path, a forwarded packet traverses the rules of all tables, of bridges, of Docker's filter and NAT, and
the hooks of connection tracking. The programs run before that at the links, and redirect a packet only if they know in
advance that the regular path would accept it: it has the port, MACs and addresses that `filter` and `bridge_filter`
require, and the same owner at both ends. Every other packet takes the regular path, which decides on its own:

- packets that open a TCP connection, because the regular path clamps their MSS;
- packets longer than the MTU of all links to the other end, fragments, packets with options or an expired TTL;
- packets to and from gateways, runners and the outside, and to runners that only smaller packets reach;
- packets to and from sessions that moved to another runner with their address.

The fast path is an optimisation and may be absent at any time. Like the views it is computed from, it is a sum of its
peers and sessions: see `change`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netvps.domain.overlay.kernel.plan import plan
from netvps.domain.overlay.netmap import addresses_by_owner, holders
from netvps.domain.overlay.settings import bridge_address, session_mac
from netvps.domain.overlay.view import View


@dataclass(frozen=True, slots=True)
class FastPathConstants:
    """The constants that every packet is compared with."""

    device_mac: str
    bridge_mac: str
    mask: str
    """Netmask of the local subnet. Subnets of other sizes do not use the fast path."""
    mtu: int
    """MTU of the links, and of the path to the runners that packets are sent to."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """A runner's subnet."""

    mac: str
    """MAC of its VXLAN device."""
    open: bool
    """Whether packets as large as the local links' MTU reach it."""


@dataclass(frozen=True, slots=True)
class FastPath:
    """The lookup tables of the programs."""

    terms: FastPathConstants
    owners: Mapping[str, str]
    """Owner name by session address, on any runner; only owners that have a session on this runner. Without the
    sessions outside the subnet of their address, because packets are directed by subnet.
    """
    subnets: Mapping[str, Subnet]
    """Keyed by first address."""


def fast_path(view: View) -> FastPath:
    """The fast path of a runner."""
    ends = holders(view.netmap.endpoints.values())
    owned = addresses_by_owner(filter(view.holds, ends), (end for end in ends if not end.runner))
    desired = plan(view)
    ways = ((cidr, route) for cidr, route in desired.routes.items() if route.gateway and view.same_size(cidr))
    return FastPath(
        FastPathConstants(view.mac, session_mac(bridge_address(view.lease.cidr)), view.netmask, view.underlay.mtu),
        {address: owner for owner, addresses in owned.items() for address in addresses},
        {route.gateway: Subnet(desired.neighbours[route.gateway], not route.mtu) for _, route in ways},
    )
