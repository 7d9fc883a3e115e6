"""Compares a runner's subnet with others. Most have the same size."""

from __future__ import annotations

from ipaddress import IPv4Network

from netvps.domain.overlay.view import View


def mask_of(view: View) -> str:
    """The netmask of the local subnet, and of all subnets of its size: "255.255.252.0"."""
    return str(IPv4Network(view.lease.cidr).netmask)


def alike(view: View, cidr: str) -> bool:
    """Whether a subnet is as large as the local one, as nearly all are."""
    return cidr.partition("/")[2] == view.lease.cidr.partition("/")[2]
