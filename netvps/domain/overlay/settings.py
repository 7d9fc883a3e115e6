"""Settings that all runners of a cluster share on the overlay; addresses and packet sizes that follow from them.

SUBNET.0   the tunnel endpoint: address of the VXLAN device, next hop of the routes to this subnet
SUBNET.1   the bridge: gateway and DNS server of the local sessions
the last   broadcast
the rest   sessions
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from netvps.errors import ConfigError

MULTICAST: Final = "224.0.0.0/4"
"""RFC 5771."""
_OVERHEAD_IPV4: Final = 50
"""Bytes that encapsulation adds to a packet on an IPv4 underlay."""
_OVERHEAD_IPV6: Final = 70
_SMALLEST: Final = 576
"""Every IPv4 host must accept packets of this size (RFC 791); with less, IPv4 does not work on a link."""
_MANY: Final = 1 << 16
"""Size of the caches of address computations: parsing addresses takes longer than everything else done with them."""


@dataclass(frozen=True, slots=True)
class OverlaySettings:
    """Overlay settings that all runners of a cluster must share: devices with different ones cannot communicate."""

    cluster_id: str
    pool: str = "10.128.0.0/10"
    """CIDR from which all subnets are allocated."""
    vni: int = 7
    port: int = 14789
    """UDP port; below the ephemeral range, and different from those of other overlays (4789, 8472)."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the whole overlay as the server knows it."""

    overlay_settings: OverlaySettings
    prefix: int
    """Prefix length of a runner's subnet."""
    generation: int
    """Generation of the netmap."""
    runners_on: int
    """Runners on the overlay, online or not."""
    runners_off: int
    """Runners without the overlay."""
    subnets_used: int
    subnets_free: int
    sessions: int
    """Sessions with an overlay address."""


def device_mac(overlay_settings: OverlaySettings, runner: str) -> str:
    """MAC of a runner's VXLAN device, stable across reboots; `runner` is its uid. Locally administered, unicast."""
    digest = hashlib.sha256(f"netvps overlay {overlay_settings.cluster_id} {runner}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (digest[0] & 0xFC | 0x02, *digest[1:6]))


@lru_cache(_MANY)
def endpoint_address(cidr: str) -> str:
    """Address of a subnet's tunnel endpoint."""
    return str(IPv4Network(cidr)[0])


@lru_cache(_MANY)
def bridge_address(cidr: str) -> str:
    """Address of a subnet's bridge."""
    return str(IPv4Network(cidr)[1])


def session_addresses(cidr: str) -> range:
    """The addresses available to sessions of a subnet, as integers."""
    network = IPv4Network(cidr)
    return range(int(network[2]), int(network[-1]))


def session_mac(address: str) -> str:
    """MAC of the session with this address.

    Set explicitly: the filter matches both, and Docker 28 changed its own choice.
    """
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42, *IPv4Address(address).packed))


def overhead(address: str) -> int:
    """Bytes that encapsulation adds to a packet on an underlay of this address's family."""
    return _OVERHEAD_IPV6 if ":" in address else _OVERHEAD_IPV4


def overlay_mtu(underlay_mtu: int, address: str) -> int:
    """MTU of the overlay on an underlay, both in bytes; `address` is the local underlay address. Raises ConfigError."""
    least = _SMALLEST + overhead(address)
    if underlay_mtu < least:
        raise ConfigError(
            f"the MTU of the underlay at {address} is {underlay_mtu}, but the overlay needs at least "
            f"{least}: raise it (ip link set … mtu), or choose another interface (--underlay)"
        )
    return underlay_mtu - overhead(address)
