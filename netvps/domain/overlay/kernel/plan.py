"""Computes the desired kernel state from a runner's view."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Network, ip_address
from types import MappingProxyType

from netvps.domain.overlay.kernel.links import OBJECT_NAMES, Address, Bridge, Device, KernelState, ObjectNames, Route
from netvps.domain.overlay.netmap import Peer, holders
from netvps.domain.overlay.settings import bridge_address, endpoint_address, session_mac
from netvps.domain.overlay.view import View

UNREACHABLE = Route()
ON_BRIDGE = Route(on_bridge=True)
AGEING_DAYS = 365
"""Ageing time of the bridge's FDB, effectively infinite: entries go with their port. The kernel allows up to 497 days;
0 means immediately. A bridge floods frames for an address that it forgot, and where packets bypass the bridge (fast
path), only ARP refreshes an entry.
"""
_MAX_PEERS = 1 << 16


def plan(view: View, names: ObjectNames = OBJECT_NAMES) -> KernelState:
    """The desired kernel state.

    A peer without an underlay address of the local family is unreachable, like unknown subnets.

    Routes have an MTU only if the peer's MTU, or the measured one, is smaller than the device's. A session outside the
    subnet of its address has a host route: to its runner, to the bridge, or unreachable if its runner is.
    """
    cidr, mtu, local = view.lease.cidr, view.underlay.mtu, view.underlay.addresses[0]
    gateway = bridge_address(cidr)
    neighbours: dict[str, str] = {}
    fdb: dict[str, str] = {}
    routes = {view.overlay_settings.pool: UNREACHABLE}
    ways = {view.runner: ON_BRIDGE}
    version = ip_address(local).version
    for peer in _holders(view.peers(), cidr):
        if (remote := _remote(peer.underlay.addresses, version)) is None:
            continue
        fits = min(peer.underlay.mtu, view.health.mtus.get(peer.runner, mtu))
        address, route = _way(peer.lease.cidr, fits if fits < mtu else 0)
        neighbours[address] = peer.mac
        fdb[peer.mac] = remote
        routes[peer.lease.cidr] = ways[peer.runner] = route
    routes |= {f"{end.address}/32": ways.get(end.runner, UNREACHABLE) for end in holders(view.moved())}
    state = KernelState(
        device=Device(
            view.overlay_settings.vni,
            view.overlay_settings.port,
            local,
            view.mac,
            mtu,
            checksum_offload=view.health.checksum_offload,
        ),
        bridge=Bridge(session_mac(gateway), mtu, AGEING_DAYS),
        addresses=frozenset(
            {
                Address(names.device, f"{endpoint_address(cidr)}/32"),
                Address(names.bridge, f"{gateway}/{IPv4Network(cidr).prefixlen}"),
            }
        ),
        neighbours=neighbours,
        fdb=fdb,
        routes=routes,
        sysctls=sysctls(names),
    )
    return state if view.hosting else _endpoint_only(state, names)


def _endpoint_only(state: KernelState, names: ObjectNames) -> KernelState:
    """The state of a machine without sessions. It reaches the overlay, but does not forward: it is no router."""
    on_device = frozenset(address for address in state.addresses if address.link == names.device)
    kept = {path: value for path, value in state.sysctls.items() if "forward" not in path}
    routes = {cidr: route for cidr, route in state.routes.items() if not route.on_bridge}
    return replace(state, bridge=None, addresses=on_device, routes=routes, sysctls=kept)


def withdrawn(state: KernelState, names: ObjectNames = OBJECT_NAMES) -> KernelState:
    """The state after the lease was lost: no routes to other runners, while the bridge and its sessions stay."""
    kept = {cidr: route for cidr, route in state.routes.items() if not route.gateway}
    on_bridge = frozenset(address for address in state.addresses if address.link == names.bridge)
    return KernelState(bridge=state.bridge, addresses=on_bridge, routes=kept)


def _holders(peers: Iterable[Peer], own: str) -> Iterable[Peer]:
    """One peer per foreign subnet. Leases are unique; if a map has duplicates, the highest epoch wins."""
    latest: dict[str, Peer] = {}
    for peer in peers:
        cidr = peer.lease.cidr
        if cidr != own and (cidr not in latest or latest[cidr].lease.epoch < peer.lease.epoch):
            latest[cidr] = peer
    return latest.values()


@lru_cache(_MAX_PEERS)
def _way(cidr: str, mtu: int) -> tuple[str, Route]:
    """Address of a peer's endpoint, and the route to its subnet. Cached, so that `diff` can compare by identity."""
    gateway = endpoint_address(cidr)
    return gateway, Route(gateway, mtu)


@lru_cache(_MAX_PEERS)
def _remote(addresses: tuple[str, ...], version: int) -> str | None:
    return next((address for address in addresses if ip_address(address).version == version), None)


@lru_cache
def sysctls(names: ObjectNames) -> MappingProxyType[str, str]:
    """Sysctls that enable forwarding and harden the overlay's interfaces.

    rp_filter is 2 (loose): the return path to a session may differ, and the filter checks sources more strictly. ARP on
    the bridge uses its own address only, because addresses of other interfaces are unknown on the overlay. The bridge
    answers ARP at once for addresses that are routed elsewhere: those of its subnet that moved to other runners.
    """
    values = {"net/ipv4/ip_forward": "1"}
    for link in (names.device, names.bridge):
        ipv4 = f"net/ipv4/conf/{link}"
        values |= {
            f"{ipv4}/forwarding": "1",
            f"{ipv4}/rp_filter": "2",
            f"{ipv4}/accept_redirects": "0",
            f"{ipv4}/send_redirects": "0",
            f"{ipv4}/arp_ignore": "1",
            f"{ipv4}/arp_announce": "2",
            f"net/ipv6/conf/{link}/disable_ipv6": "1",
        }
    values |= {f"net/ipv4/conf/{names.bridge}/proxy_arp": "1", f"net/ipv4/neigh/{names.bridge}/proxy_delay": "0"}
    return MappingProxyType(values)
