"""A short way for packets between an owner's sessions on two runners: straight from link to link, where one comes in.

A packet that is forwarded meets the rules of all tables, of bridges, of Docker's filter and NAT, and the hooks of
connection tracking, to be let through in the end. Programs at the links see it first, and send on what they know all of
that about beforehand: it has the link, MACs and addresses that `filter` and `bridge_filter` ask for, and the same owner
at both ends. All else goes the long way, which decides by itself:

- what begins a TCP connection, whose segments are told there how long they may be;
- what is longer than all links to the other end, is a part of a packet, has options, or has been forwarded too often;
- what goes to or comes from gateways, runners and the outside, and to runners that smaller packets alone get to.

It may be missing at any time. Like the views that it follows from, it is a sum of its peers and sessions: see `change`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netvps.domain.overlay.fabric import bridge_address, session_mac
from netvps.domain.overlay.owners import addresses_by_owner, holders
from netvps.domain.overlay.plan import plan
from netvps.domain.overlay.subnets import alike, mask_of
from netvps.domain.overlay.view import View


@dataclass(frozen=True, slots=True)
class Terms:
    """What all packets are held against."""

    device_mac: str
    bridge_mac: str
    mask: str
    """Of our subnet; those of other sizes have no part in this."""
    mtu: int
    """Of all links, and of the way to the runners that packets are sent to."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """A runner's part of the pool."""

    mac: str
    """Of its VXLAN device."""
    open: bool
    """Whether packets as long as our links take them get there."""


@dataclass(frozen=True, slots=True)
class FastPath:
    """All that a packet is looked up in."""

    terms: Terms
    owners: Mapping[str, str]
    """Names by address of a session, wherever it is; of owners who have one here."""
    subnets: Mapping[str, Subnet]
    """By first address."""


def fast_path(view: View) -> FastPath:
    """Of a runner."""
    ends = holders(view.netmap.endpoints.values())
    owned = addresses_by_owner(filter(view.holds, ends), ends)
    desired = plan(view)
    ways = ((cidr, route) for cidr, route in desired.routes.items() if route.gateway and alike(view, cidr))
    return FastPath(
        Terms(view.mac, session_mac(bridge_address(view.lease.cidr)), mask_of(view), view.underlay.mtu),
        {address: owner for owner, addresses in owned.items() for address in addresses},
        {route.gateway: Subnet(desired.neighbours[route.gateway], not route.mtu) for _, route in ways},
    )
