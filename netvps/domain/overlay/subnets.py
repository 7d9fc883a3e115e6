"""How a runner's subnet compares with others: most are of one size."""

from __future__ import annotations

from ipaddress import IPv4Network

from netvps.domain.overlay.view import View


def mask_of(view: View) -> str:
    """What leaves of an address the first one of its subnet, where that is as large as ours: "255.255.252.0"."""
    return str(IPv4Network(view.lease.cidr).netmask)


def alike(view: View, cidr: str) -> bool:
    """Whether a subnet is as large as ours, as nearly all are."""
    return cidr.partition("/")[2] == view.lease.cidr.partition("/")[2]
