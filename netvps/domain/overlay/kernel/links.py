"""The overlay's objects in the kernel of a runner's machine, as comparable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """Names of all kernel objects of the overlay, by which a runner recognises its own.

    One overlay per network namespace.
    """

    device: str = "nv0"
    bridge: str = "nvbr0"
    network: str = "netvps-overlay"
    """Docker network."""
    table: str = "netvps"
    """nftables table, in the families inet and bridge."""
    protocol: int = 201
    """Protocol of the routes (`ip route … proto 201`)."""


OBJECT_NAMES = ObjectNames()


@dataclass(frozen=True, slots=True)
class Device:
    """A VXLAN device without a default remote or group: frames without an FDB entry are dropped, never flooded."""

    vni: int
    port: int
    """UDP port of both sender and receiver."""
    local: str
    """Underlay address."""
    mac: str
    mtu: int
    up: bool = True
    learning: bool = False
    remote: str = ""
    """Default destination; the overlay's device has none."""
    checksum_offload: bool = True
    """Whether the checksums of outgoing packets may be offloaded to the network card."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge of the sessions on this runner."""

    mac: str
    """Set explicitly: by default a bridge changes its MAC with its ports, and every session would need ARP again."""
    mtu: int
    ageing_days: int
    """Ageing time of the FDB. In days, because kernels report it with limited precision."""
    up: bool = True
    snooping: bool = False
    """IGMP snooping. Off: the group table is shared by all owners, so one of them could fill it, or by an IGMP query
    stop the multicast of others from reaching hosts that did not hear that query.
    """


@dataclass(frozen=True, slots=True)
class Address:
    """An address of one of the overlay's links."""

    link: str
    """Name of the link."""
    cidr: str
    """With prefix length: "10.128.4.1/22"."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the overlay; keyed by its destination."""

    gateway: str = ""
    """Next hop on the device (onlink)."""
    mtu: int = 0
    """0: that of the device."""
    on_bridge: bool = False
    """Without a gateway: the destination is on the bridge, or else unreachable."""

    @property
    def unreachable(self) -> bool:
        """Whether the destination is unreachable."""
        return not self.gateway and not self.on_bridge


@dataclass(frozen=True, slots=True)
class KernelState:
    """All kernel objects of the overlay, actual or desired."""

    device: Device | None = None
    bridge: Bridge | None = None
    addresses: frozenset[Address] = frozenset()
    neighbours: Mapping[str, str] = field(default_factory=dict)
    """MAC by IP address on the device; permanent entries only."""
    fdb: Mapping[str, str] = field(default_factory=dict)
    """Underlay address by MAC on the device."""
    routes: Mapping[str, Route] = field(default_factory=dict)
    """Routes with the overlay's protocol, by destination (CIDR)."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Value by path below /proc/sys; the relevant ones that this kernel has."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """Descriptions of other routes by destination. Only inspected, never desired."""
