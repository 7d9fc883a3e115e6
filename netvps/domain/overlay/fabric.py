"""What all runners of a cluster have in common on the overlay, and the addresses that follow from a subnet.

SUBNET.0   the tunnel endpoint: address of the VXLAN device, next hop of the routes to this subnet
SUBNET.1   the bridge: gateway and DNS server of the sessions there
the last   broadcast
the rest   sessions
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import Final

MULTICAST: Final = "224.0.0.0/4"
"""RFC 5771."""

VXLAN_OVERHEAD_IPV4: Final = 50
"""Bytes that a packet grows by on its way over an IPv4 underlay."""
VXLAN_OVERHEAD_IPV6: Final = 70
_MANY: Final = 1 << 16
"""What is remembered: to read addresses as numbers takes longer than all else that is done with them."""


@dataclass(frozen=True, slots=True)
class Fabric:
    """Settings of the overlay that every runner must share; a VXLAN device made with others hears nobody."""

    cluster_id: str
    pool: str = "10.128.0.0/10"
    """CIDR that all subnets come out of."""
    vni: int = 7
    port: int = 14789
    """UDP; below the ephemeral range, and neither of those that other overlays take (4789, 8472)."""


def device_mac(fabric: Fabric, runner: str) -> str:
    """MAC of a runner's VXLAN device: the same after a reboot; `runner` is its uid. Locally administered, unicast."""
    digest = hashlib.sha256(f"netvps overlay {fabric.cluster_id} {runner}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (digest[0] & 0xFC | 0x02, *digest[1:6]))


@lru_cache(_MANY)
def endpoint_address(cidr: str) -> str:
    """Address of the tunnel endpoint of a subnet."""
    return str(IPv4Network(cidr)[0])


@lru_cache(_MANY)
def bridge_address(cidr: str) -> str:
    """Address of the bridge of a subnet."""
    return str(IPv4Network(cidr)[1])


def session_addresses(cidr: str) -> range:
    """The addresses that sessions of a subnet may have, as integers."""
    network = IPv4Network(cidr)
    return range(int(network[2]), int(network[-1]))


def session_mac(address: str) -> str:
    """MAC of a session with this address: the two are filtered as a pair, and Docker's own choice changed with 28."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42, *IPv4Address(address).packed))
