"""Which address of this machine leads to the other runners, and how large a packet it takes."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from netvps.domain.overlay.links import ObjectNames
from netvps.domain.overlay.mtu import overlay_mtu
from netvps.domain.runner import Underlay
from netvps.errors import ConfigError, Unavailable

# Of documentation (RFC 5737, RFC 3849): the way there is the default route's, and nothing is ever sent.
_ANYWHERE = ("198.51.100.1", "2001:db8::1")
_GLOBAL_SCOPE = 0
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL}
_LOOPBACK = "lo"
_WIDEST_LINK = 65535


class _Way(NamedTuple):
    address: str
    mtu: int


def detect(choice: str, targets: tuple[str, ...], names: ObjectNames) -> Underlay:
    """The underlay of this machine.

    `choice` is an address or an interface of it, or ''; then it is the way to the first of the `targets` (IP addresses)
    that is on another machine, else the default route's. Raises ConfigError: what was chosen is not there, or has no
    address, or too small an MTU; Unavailable: there is no way anywhere.
    """
    with IPRoute(groups=0, ext_ack=True, strict_check=True) as kernel:
        way = _chosen(kernel, choice) if choice else _on_the_way(kernel, (*targets, *_ANYWHERE), names)
    return Underlay((way.address,), overlay_mtu(min(way.mtu, _WIDEST_LINK), way.address))


def _chosen(kernel: IPRoute, choice: str) -> _Way:
    try:
        return _by_address(kernel, ip_address(choice))
    except ValueError:
        return _by_interface(kernel, choice)


def _by_address(kernel: IPRoute, address: IPv4Address | IPv6Address) -> _Way:
    for found in kernel.addr("dump"):
        if found.get("IFA_LOCAL", found.get("IFA_ADDRESS")) == str(address):
            return _Way(str(address), _link_mtu(kernel, found["index"]))
    raise ConfigError(
        f"underlay: this machine does not have the address {address}: give one of its own (ip address), or an interface"
    )


def _by_interface(kernel: IPRoute, name: str) -> _Way:
    link = next((link for link in kernel.link("dump") if link.get("ifname") == name), None)
    if link is None:
        known = ", ".join(sorted(str(link.get("ifname")) for link in kernel.link("dump")))
        raise ConfigError(f"underlay: there is no interface {name!r} here; there are: {known}")
    found = [address for address in kernel.addr("dump") if address["index"] == link["index"]]
    usable = [address for address in found if address["scope"] == _GLOBAL_SCOPE]
    usable.sort(key=lambda address: address["family"] != socket.AF_INET)  # stable: the first IPv4 address, if any
    if not usable:
        raise ConfigError(f"underlay: interface {name} has no address: give it one, or choose another interface")
    return _Way(str(usable[0].get("IFA_LOCAL", usable[0].get("IFA_ADDRESS"))), int(link.get("mtu")))


def _on_the_way(kernel: IPRoute, targets: tuple[str, ...], names: ObjectNames) -> _Way:
    ours = {names.device, names.bridge}
    for target in targets:
        route = _route(kernel, target)
        if route is None or (source := route.get("RTA_PREFSRC")) is None or ip_address(source).is_loopback:
            continue
        link = next(iter(kernel.link("get", index=route.get("RTA_OIF"))))
        if link.get("ifname") in ours:
            continue
        if link.get("ifname") == _LOOPBACK:  # the server is here, and others reach it by this address
            return _by_address(kernel, ip_address(source))
        metrics = route.get("RTA_METRICS")
        mtu = metrics.get("RTAX_MTU") if metrics else None
        return _Way(str(source), min(int(link.get("mtu")), mtu or _WIDEST_LINK))
    raise Unavailable(
        "this machine has no address that leads to others (no route to the server, no default route): give it a "
        "network, or name its address (--underlay)"
    )


def _route(kernel: IPRoute, target: str) -> Any:
    try:
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        return next(iter(kernel.route("get", dst=target, family=family)), None)
    except NetlinkError as error:
        if error.code in _NO_ROUTE:
            return None
        raise


def _link_mtu(kernel: IPRoute, index: int) -> int:
    return int(next(iter(kernel.link("get", index=index))).get("mtu"))
