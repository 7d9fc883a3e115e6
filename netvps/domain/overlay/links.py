"""What the kernel of a runner's machine holds of the overlay, as values that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """Names of all that a runner makes for the overlay: by them it knows its own. One overlay in a namespace."""

    device: str = "nv0"
    bridge: str = "nvbr0"
    network: str = "netvps-overlay"
    """Of Docker."""
    table: str = "netvps"
    """Of nftables, in the families inet and bridge."""
    protocol: int = 201
    """Of routes (`ip route … proto 201`)."""


OBJECT_NAMES = ObjectNames()


@dataclass(frozen=True, slots=True)
class Device:
    """A VXLAN device without a remote or a group: what has no FDB entry is dropped, never flooded."""

    vni: int
    port: int
    """UDP, of the sender and the receiver."""
    local: str
    """Address on the underlay."""
    mac: str
    mtu: int
    up: bool = True
    learning: bool = False
    remote: str = ""
    """Of a default destination; ours has none."""
    checksum_offload: bool = True
    """Whether checksums of what leaves by it may be left to the network card."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge that the sessions of this runner are on."""

    mac: str
    """Given: by itself a bridge changes it with its ports, and every session would have to ask for it again."""
    mtu: int
    ageing_days: int
    """Until it forgets behind which port a silent address is. Not to the second: kernels tell it less exactly."""
    up: bool = True
    snooping: bool = False
    """Whether it keeps multicast groups. Ours does not: its table is for all owners, and one of them could fill it, or
    by an IGMP query keep the multicast of the others from being sent to whoever did not hear that query."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address of one of our links."""

    link: str
    """Its name."""
    cidr: str
    """With the length of the prefix: "10.128.4.1/22"."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of ours; its destination is its key."""

    gateway: str = ""
    """Through the device, on link; empty: the destination is unreachable."""
    mtu: int = 0
    """0: that of the device."""


@dataclass(frozen=True, slots=True)
class KernelState:
    """All of the overlay that is, or shall be, in the kernel."""

    device: Device | None = None
    bridge: Bridge | None = None
    addresses: frozenset[Address] = frozenset()
    neighbours: Mapping[str, str] = field(default_factory=dict)
    """On the device: MAC by IP address; permanent ones only."""
    fdb: Mapping[str, str] = field(default_factory=dict)
    """Of the device: address on the underlay by MAC."""
    routes: Mapping[str, Route] = field(default_factory=dict)
    """Of our protocol, by destination (CIDR)."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Value by path below /proc/sys, of those that matter and that this kernel has."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """Routes that are not ours: a description by destination. Only seen, never wanted."""
