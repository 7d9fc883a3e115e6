"""A short way for packets between an owner's sessions on two runners: straight from link to link, where one comes in.

A packet that is forwarded meets the rules of all tables, of bridges, of Docker's filter and NAT, and the hooks of
connection tracking, to be let through in the end. These rules are met first, before the bridge, and send on those of
which all of that is known beforehand: what they take has the link, MACs and addresses that `filter` and
`bridge_filter` ask for, and the same owner at both ends. All else goes the long way, which decides by itself:

- what begins a TCP connection, whose segments are told there how long they may be;
- what is longer than all links to the other end, is a part of a packet, has options, or has been forwarded too often;
- what goes to or comes from gateways, runners and the outside, and to runners that smaller packets alone get to;
- two packets a minute of each session, for the bridge to learn where it is: else it would send to all what is for one.

It may be missing at any time. Like the views that it follows from, it is a sum of its peers and sessions: see `change`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from netvps.domain.overlay.fabric import bridge_address, session_mac
from netvps.domain.overlay.links import OBJECT_NAMES, ObjectNames
from netvps.domain.overlay.nft import Chain, Ruleset, Set, Table
from netvps.domain.overlay.owners import addresses_by_owner, holders, owner_table
from netvps.domain.overlay.plan import plan
from netvps.domain.overlay.subnets import alike, by_mask, mask_of
from netvps.domain.overlay.view import View

_PLAIN: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]*")
"""A name of a link that a chain may be named after."""
_WHOLE: Final = "@nh,0,8 0x45 ip frag-off & 0x3fff == 0 ip ttl > 1"
"""IPv4 without options, no fragment, and to be forwarded."""
_SOMETIMES: Final = "limit rate 2/minute burst 1 packets accept"


def fast_path(view: View, ports: Mapping[str, str], names: ObjectNames = OBJECT_NAMES) -> Ruleset:
    """The rules of a runner; `ports` are its bridge's links that are there, by the session's address behind each.

    Raises InvalidInput if the netmap has an owner whose name is none.
    """
    ends = holders(view.netmap.endpoints.values())
    local = sorted(filter(view.holds, ends), key=lambda end: end.address)
    mask = mask_of(view)
    owners = owner_table(
        local,
        addresses_by_owner(local, ends),
        (f"ip daddr @{{name}} ip daddr & {mask} @ways goto leaving",),
        ("ip saddr @{name} goto arriving",),
    )
    known = {end.address: ports[end.address] for end in local if end.address in ports}
    sets = {"ways": Set("ipv4_addr", _ways(view)), "subnets": by_mask(view)}
    chains = {**owners.chains, **_chains(view, names), **_port_chains(view, known)}
    return Ruleset({f"netdev {names.table}": Table({**sets, **owners.sets}, chains)})


def _ways(view: View) -> frozenset[str]:
    """Next hops, the first addresses of their subnets, of routes that take packets as long as our links do."""
    routes = plan(view).routes.items()
    return frozenset(route.gateway for cidr, route in routes if route.gateway and not route.mtu and alike(view, cidr))


def _chains(view: View, names: ObjectNames) -> dict[str, Chain]:
    mask = mask_of(view)
    tunnel = (
        f"ether daddr {view.mac} ether type ip ether saddr . ip saddr & {mask} @subnets ip daddr vmap @receivers",
    )
    return {
        "leaving": _sending(view, f'fwd ip to ip daddr & {mask} device "{names.device}"'),
        "arriving": _sending(view, f'fwd ip to ip daddr device "{names.bridge}"'),
        "from-tunnel": Chain(tunnel, _ingress(names.device)),
    }


def _sending(view: View, statement: str) -> Chain:
    """TCP comes joined to long packets, whose parts are as long as both ends agreed to.

    What may be a single part that is too long after all, as our links take less by now, goes to where that is told.
    """
    mtu = view.underlay.mtu
    return Chain(
        (
            f"meta l4proto tcp {_WHOLE} meta length != {mtu + 1}-{2 * mtu} tcp flags & syn == 0 {statement}",
            f"meta l4proto != tcp {_WHOLE} meta length <= {mtu} {statement}",
        )
    )


def _port_chains(view: View, links: Mapping[str, str]) -> dict[str, Chain]:
    """One for each session: what comes from it by its link, to be routed."""
    gateway = session_mac(bridge_address(view.lease.cidr))
    chains: dict[str, Chain] = {}
    for address, link in links.items():
        if _PLAIN.fullmatch(link):
            said = f"ether daddr {gateway} ether saddr {session_mac(address)} ether type ip ip saddr {address}"
            rules = (f"{said} {_SOMETIMES}", f"{said} ip saddr vmap @owners")
            chains[f"port-{link}-{address}"] = Chain(rules, _ingress(link))
    return chains


def _ingress(link: str) -> str:
    return f'type filter hook ingress device "{link}" priority 0'
