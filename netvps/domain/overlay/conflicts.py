"""What is in the way of the overlay, on a machine or in a netmap."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network

from netvps.domain.overlay.netmap import Netmap
from netvps.domain.overlay.owners import holders
from netvps.domain.overlay.view import View
from netvps.domain.runner import Lease

_FEW = 8
_DEFAULT_ROUTES = 1
"""Prefix lengths up to this make a default route, or the two halves of one that VPNs put before it."""


def overlapping(pool: str, foreign: Mapping[str, str]) -> list[str]:
    """Descriptions of routes of others that overlap the pool: the overlay would take from them, or they from it."""
    network = IPv4Network(pool)
    found = ((IPv4Network(destination), text) for destination, text in foreign.items())
    return sorted(text for route, text in found if route.prefixlen > _DEFAULT_ROUTES and route.overlaps(network))


def cut_off(view: View) -> list[str]:
    """Descriptions of sessions here that the filter knows nothing of: each has the address of a newer one."""
    local = list(view.local_endpoints())
    kept = {end.address: end for end in holders(local)}
    return sorted(
        f"{end.name}.{end.owner} ({end.address}, which {kept[end.address].name}.{kept[end.address].owner} has, too)"
        for end in local
        if end is not kept[end.address]
    )


def in_the_way(pool: str, foreign: Mapping[str, str]) -> str:
    """What is to be said of such routes; '' if there is none."""
    if not (found := overlapping(pool, foreign)):
        return ""
    return (
        f"the overlay's pool {pool} overlaps a route of this machine ({', '.join(found[:_FEW])}): "
        "remove that, or give the server another pool (overlay_pool)"
    )


def usurper(netmap: Netmap, runner: str, lease: Lease) -> str:
    """Name of the runner that holds our subnet by a later lease than ours; '' if there is none."""
    for peer in netmap.peers.values():
        if peer.runner != runner and peer.lease.cidr == lease.cidr and peer.lease.epoch > lease.epoch:
            return peer.name
    return ""
