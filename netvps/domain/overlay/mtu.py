"""Packet sizes of the overlay."""

from __future__ import annotations

from ipaddress import ip_address

from netvps.domain.overlay.fabric import VXLAN_OVERHEAD_IPV4, VXLAN_OVERHEAD_IPV6
from netvps.errors import ConfigError

_IPV4 = 4
_SMALLEST = 576
"""Every IPv4 host must accept packets of this size (RFC 791); with less, IPv4 does not work on a link."""


def overlay_mtu(underlay_mtu: int, address: str) -> int:
    """MTU of the overlay on an underlay, both in bytes; `address` is the local underlay address. Raises ConfigError."""
    overhead = VXLAN_OVERHEAD_IPV4 if ip_address(address).version == _IPV4 else VXLAN_OVERHEAD_IPV6
    if underlay_mtu - overhead < _SMALLEST:
        raise ConfigError(
            f"the MTU of the underlay at {address} is {underlay_mtu}, but the overlay needs at least "
            f"{_SMALLEST + overhead}: raise it (ip link set … mtu), or choose another interface (--underlay)"
        )
    return underlay_mtu - overhead
