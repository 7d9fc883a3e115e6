"""Conflicts of the overlay with routes on a machine, and within a netmap."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network

from netvps.domain.overlay.netmap import Netmap, holders
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease

_FEW = 8
_DEFAULT_ROUTES = 1
"""Prefixes up to this length are default routes, or halves of one as VPNs install them."""


def overlapping(pool: str, foreign: Mapping[str, str]) -> list[str]:
    """Descriptions of foreign routes that overlap the pool; one of the two would take the other's traffic."""
    network = IPv4Network(pool)
    found = ((IPv4Network(destination), text) for destination, text in foreign.items())
    return sorted(text for route, text in found if route.prefixlen > _DEFAULT_ROUTES and route.overlaps(network))


def cut_off(view: View) -> list[str]:
    """Descriptions of local sessions that the filter ignores, because a newer session has the same address."""
    local = list(view.local_endpoints())
    kept = {end.address: end for end in holders(local)}
    return sorted(
        f"{end.name}.{end.owner} ({end.address}, which {kept[end.address].name}.{kept[end.address].owner} has, too)"
        for end in local
        if end is not kept[end.address]
    )


def pool_conflict(pool: str, foreign: Mapping[str, str]) -> str | None:
    """An error message about routes that overlap the pool; None if none does."""
    if not (found := overlapping(pool, foreign)):
        return None
    return (
        f"the overlay's pool {pool} overlaps a route of this machine ({', '.join(found[:_FEW])}): "
        "remove that, or give the server another pool (overlay_pool)"
    )


def conflicting_lease_holder(netmap: Netmap, runner: str, lease: Lease) -> str:
    """Name of the runner that has a lease on the same subnet with a higher epoch; '' if there is none."""
    for peer in netmap.peers.values():
        if peer.runner != runner and peer.lease.cidr == lease.cidr and peer.lease.epoch > lease.epoch:
            return peer.name
    return ""
