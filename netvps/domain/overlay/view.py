"""The overlay from the point of view of one runner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network

from netvps.domain.overlay.diagnosis.health import Health
from netvps.domain.overlay.fabric import Fabric, device_mac
from netvps.domain.overlay.netmap import Endpoint, Netmap, Peer
from netvps.domain.runner.runner import Lease, Underlay


@dataclass(frozen=True, slots=True)
class View:
    """Everything that determines a runner's part of the overlay: kernel objects, filter and DNS."""

    runner: str
    """Its uid."""
    fabric: Fabric
    lease: Lease
    underlay: Underlay
    netmap: Netmap
    health: Health = field(default_factory=Health)
    hosting: bool = True
    """Whether sessions may run here. Otherwise there is no bridge, and nothing is forwarded."""

    @property
    def mac(self) -> str:
        """MAC of its VXLAN device."""
        return device_mac(self.fabric, self.runner)

    def peers(self) -> Iterator[Peer]:
        """The other runners."""
        return (peer for uid, peer in self.netmap.peers.items() if uid != self.runner)

    def local_endpoints(self) -> Iterator[Endpoint]:
        """The sessions in this runner's subnet."""
        return filter(self.holds, self.netmap.endpoints.values())

    def holds(self, end: Endpoint) -> bool:
        """Whether a session is in this runner's subnet."""
        return end.address in _addresses(self.lease.cidr)


@lru_cache(maxsize=4)
def _addresses(cidr: str) -> frozenset[str]:
    """All addresses of a subnet, as text: parsing 100,000 addresses would take a quarter of a second."""
    return frozenset(map(str, IPv4Network(cidr)))
