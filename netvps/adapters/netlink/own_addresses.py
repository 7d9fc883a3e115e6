"""Lists the IP addresses of this machine, with pyroute2."""

from __future__ import annotations

from ipaddress import ip_address

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError


def own_addresses() -> list[str]:
    """Returns the addresses of all interfaces, IPv4 first, without link-local ones; [] if that fails. Blocks."""
    try:
        with IPRoute(groups=0, ext_ack=True, strict_check=True) as kernel:
            found = [ip_address(each.get("IFA_LOCAL", each.get("IFA_ADDRESS"))) for each in kernel.addr("dump")]
    except (OSError, NetlinkError):
        return []
    ordered = sorted(set(found), key=lambda address: (address.version, address.packed))
    return [str(address) for address in ordered if not address.is_link_local]
