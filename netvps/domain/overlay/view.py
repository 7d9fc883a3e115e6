"""The overlay from the point of view of one runner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network

from netvps.domain.overlay.netmap import Endpoint, Netmap, Peer
from netvps.domain.overlay.peer_health import Health, Target
from netvps.domain.overlay.settings import OverlaySettings, device_mac, endpoint_address
from netvps.domain.runner.runner import Lease, Underlay


@dataclass(frozen=True, slots=True)
class View:
    """Everything that determines a runner's part of the overlay: kernel objects, filter and DNS."""

    runner: str
    """Its uid."""
    overlay_settings: OverlaySettings
    lease: Lease
    underlay: Underlay
    netmap: Netmap
    health: Health = field(default_factory=Health)
    hosting: bool = True
    """Whether sessions may run here. Otherwise there is no bridge, and nothing is forwarded."""

    @property
    def mac(self) -> str:
        """MAC of its VXLAN device."""
        return device_mac(self.overlay_settings, self.runner)

    def peers(self) -> Iterator[Peer]:
        """The other runners."""
        return (peer for uid, peer in self.netmap.peers.items() if uid != self.runner)

    def local_endpoints(self) -> Iterator[Endpoint]:
        """The sessions on this runner."""
        return filter(self.holds, self.netmap.endpoints.values())

    def holds(self, end: Endpoint) -> bool:
        """Whether a session is on this runner: in its subnet, or moved here with its address."""
        return end.runner == self.runner if end.runner else self.lends(end.address)

    def lends(self, address: str) -> bool:
        """Whether an address is in this runner's subnet, wherever its session is."""
        return address in _addresses(self.lease.cidr)

    def moved(self) -> Iterator[Endpoint]:
        """The sessions that are outside the subnet of their address, here or on other runners."""
        return (end for end in self.netmap.endpoints.values() if end.runner)

    @property
    def netmask(self) -> str:
        """The netmask of the local subnet, and of all subnets of its size: "255.255.252.0"."""
        return str(IPv4Network(self.lease.cidr).netmask)

    def same_size(self, cidr: str) -> bool:
        """Whether a subnet is as large as the local one, as nearly all are."""
        return cidr.partition("/")[2] == self.lease.cidr.partition("/")[2]

    def target(self, peer: Peer, own: str) -> Target | None:
        """The link of this runner, named `own`, to a peer; None if it has no underlay address of the local family."""
        here = self.underlay.addresses[0]
        there = next((address for address in peer.underlay.addresses if (":" in address) == (":" in here)), None)
        if there is None:
            return None
        return Target(
            peer=peer.runner,
            name=peer.name,
            address=endpoint_address(peer.lease.cidr),
            mtu=min(self.underlay.mtu, peer.underlay.mtu),
            here=here,
            there=there,
            own=own,
            port=self.overlay_settings.port,
        )


@lru_cache(maxsize=4)
def _addresses(cidr: str) -> frozenset[str]:
    """All addresses of a subnet, as text: parsing 100,000 addresses would take a quarter of a second."""
    return frozenset(map(str, IPv4Network(cidr)))
