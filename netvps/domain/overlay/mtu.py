"""How large a packet of the overlay may be."""

from __future__ import annotations

from ipaddress import ip_address

from netvps.domain.overlay.fabric import VXLAN_OVERHEAD_IPV4, VXLAN_OVERHEAD_IPV6
from netvps.errors import ConfigError

_IPV4 = 4
_SMALLEST = 576
"""Every host must take packets of this size (RFC 791); below it, IPv4 itself does not work on a link."""


def overlay_mtu(underlay_mtu: int, address: str) -> int:
    """MTU of the overlay for one of the underlay, both in bytes; `address` is ours on it. Raises ConfigError."""
    overhead = VXLAN_OVERHEAD_IPV4 if ip_address(address).version == _IPV4 else VXLAN_OVERHEAD_IPV6
    if underlay_mtu - overhead < _SMALLEST:
        raise ConfigError(
            f"the MTU of the underlay at {address} is {underlay_mtu}, and {_SMALLEST + overhead} is the least that "
            "the overlay works with: raise it (ip link set … mtu), or choose another interface (--underlay)"
        )
    return underlay_mtu - overhead
