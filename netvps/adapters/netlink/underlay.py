"""Detects this machine's underlay: the address that reaches other runners, and its MTU."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from netvps.domain.overlay.kernel.links import ObjectNames
from netvps.domain.overlay.settings import overlay_mtu
from netvps.domain.runner.runner import Underlay
from netvps.errors import ConfigError, Unavailable

# Documentation addresses (RFC 5737, RFC 3849): the route lookup yields the default route; nothing is sent there.
_ANYWHERE = ("198.51.100.1", "2001:db8::1")
_GLOBAL_SCOPE = 0
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL}
_LOOPBACK = "lo"
_WIDEST_LINK = 65535


class _Source(NamedTuple):
    address: str
    mtu: int


def detect(choice: str, targets: tuple[str, ...], names: ObjectNames) -> Underlay:
    """Detects the underlay of this machine.

    `choice` is one of its addresses or interfaces, or '' for the source address of the route to the first of `targets`
    (IP addresses) that is on another machine, else of the default route. Raises ConfigError if the choice does not
    exist, has no address or too small an MTU; Unavailable if there is no route at all.
    """
    with IPRoute(groups=0, ext_ack=True, strict_check=True) as kernel:
        source = _chosen(kernel, choice) if choice else _by_route(kernel, (*targets, *_ANYWHERE), names)
    return Underlay((source.address,), overlay_mtu(min(source.mtu, _WIDEST_LINK), source.address))


def _chosen(kernel: IPRoute, choice: str) -> _Source:
    try:
        return _by_address(kernel, ip_address(choice))
    except ValueError:
        return _by_interface(kernel, choice)


def _by_address(kernel: IPRoute, address: IPv4Address | IPv6Address) -> _Source:
    for found in kernel.addr("dump"):
        if found.get("IFA_LOCAL", found.get("IFA_ADDRESS")) == str(address):
            return _Source(str(address), _link_mtu(kernel, found["index"]))
    raise ConfigError(
        f"underlay: this machine does not have the address {address}; give one of its own (ip address) or an interface"
    )


def _by_interface(kernel: IPRoute, name: str) -> _Source:
    link = next((link for link in kernel.link("dump") if link.get("ifname") == name), None)
    if link is None:
        known = ", ".join(sorted(str(link.get("ifname")) for link in kernel.link("dump")))
        raise ConfigError(f"underlay: this machine has no interface {name!r}; choose one of: {known}")
    found = [address for address in kernel.addr("dump") if address["index"] == link["index"]]
    usable = [address for address in found if address["scope"] == _GLOBAL_SCOPE]
    usable.sort(key=lambda address: address["family"] != socket.AF_INET)  # stable: the first IPv4 address, if any
    if not usable:
        raise ConfigError(f"underlay: interface {name} has no address; give it one, or choose another interface")
    return _Source(str(usable[0].get("IFA_LOCAL", usable[0].get("IFA_ADDRESS"))), int(link.get("mtu")))


def _by_route(kernel: IPRoute, targets: tuple[str, ...], names: ObjectNames) -> _Source:
    ours = {names.device, names.bridge}
    for target in targets:
        route = _route(kernel, target)
        if route is None or (source := route.get("RTA_PREFSRC")) is None or ip_address(source).is_loopback:
            continue
        link = next(iter(kernel.link("get", index=route.get("RTA_OIF"))))
        if link.get("ifname") in ours:
            continue
        if link.get("ifname") == _LOOPBACK:  # the server is on this machine, reachable by this address
            return _by_address(kernel, ip_address(source))
        metrics = route.get("RTA_METRICS")
        mtu = metrics.get("RTAX_MTU") if metrics else None
        return _Source(str(source), min(int(link.get("mtu")), mtu or _WIDEST_LINK))
    raise Unavailable(
        "this machine has no address that other machines reach: no route to the server, no default route; connect it "
        "to a network, or name its address (--underlay)"
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
