"""Encodes and decodes the overlay's neighbours, FDB entries and routes as rtnetlink messages (linux/rtnetlink.h)."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network
from typing import Final

from netvps.adapters.netlink.wire import CREATE, REPLACE, attribute, attributes, message
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import Route
from netvps.domain.overlay.kernel.operations import EntryOperation

NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
NEW_NEIGHBOUR, DELETE_NEIGHBOUR, GET_NEIGHBOUR = 28, 29, 30
_NEIGHBOUR: Final = struct.Struct("=BBHiHBB")
"""struct ndmsg: family, padding, interface, state, flags, type."""
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, destination and source prefix lengths, TOS, table, protocol, scope, type, flags."""
_U32: Final = struct.Struct("=I")
_CACHE_INFO: Final = struct.Struct("=IIII")
"""struct nda_cacheinfo: clock ticks since confirmed, used, updated; references."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_NDA_DST, _NDA_LLADDR, _NDA_CACHEINFO, _NDA_IFINDEX = 1, 2, 3, 8
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_METRICS, _RTAX_MTU = 1, 4, 5, 8, 2
_PERMANENT, _SELF = 0x80, 0x02
_MAIN_TABLE, _ON_LINK = 254, 4
_ANY_TYPE, _UNICAST, _UNREACHABLE = 0, 1, 7
_ANY_SCOPE, _LINK_SCOPE = 255, 253
_MEMORY = 1 << 17


@dataclass(frozen=True, slots=True)
class Own:
    """Identifies the entries that belong to the overlay."""

    device: int
    """Interface index of the VXLAN device; 0 if it does not exist."""
    protocol: int
    """Protocol number of the overlay's routes."""
    bridge: int = 0
    """Interface index of the bridge."""


@dataclass(frozen=True, slots=True)
class ForeignRoute:
    """A unicast IPv4 route of the main table that is not the overlay's."""

    destination: str
    interface: int
    protocol: int


def encode(operation: EntryOperation, own: Own) -> bytes:
    """Encodes an operation as a request."""
    match operation:
        case op.PutNeighbour(address, mac):
            head = _NEIGHBOUR.pack(socket.AF_INET, 0, 0, own.device, _PERMANENT, 0, 0)
            body = attribute(_NDA_DST, _packed(address)) + attribute(_NDA_LLADDR, _packed_mac(mac))
            return message(NEW_NEIGHBOUR, CREATE | REPLACE, head + body)
        case op.DropNeighbour(address):
            head = _NEIGHBOUR.pack(socket.AF_INET, 0, 0, own.device, 0, 0, 0)
            return message(DELETE_NEIGHBOUR, 0, head + attribute(_NDA_DST, _packed(address)))
        case op.PutFdb(mac, remote):
            head = _NEIGHBOUR.pack(socket.AF_BRIDGE, 0, 0, own.device, _PERMANENT, _SELF, 0)
            body = attribute(_NDA_LLADDR, _packed_mac(mac)) + attribute(_NDA_DST, _packed(remote))
            return message(NEW_NEIGHBOUR, CREATE | REPLACE, head + body)
        case op.DropFdb(mac):
            head = _NEIGHBOUR.pack(socket.AF_BRIDGE, 0, 0, own.device, 0, _SELF, 0)
            return message(DELETE_NEIGHBOUR, 0, head + attribute(_NDA_LLADDR, _packed_mac(mac)))
        case op.PutRoute(destination, route):
            return message(NEW_ROUTE, CREATE | REPLACE, _route(destination, route, own))
        case op.DropRoute(destination):
            network, length = _packed_network(destination)
            head = _ROUTE.pack(socket.AF_INET, length, 0, 0, _MAIN_TABLE, own.protocol, _ANY_SCOPE, _ANY_TYPE, 0)
            return message(DELETE_ROUTE, 0, head + attribute(_RTA_DST, network))


def decode(kind: int, body: bytes, own: Own) -> EntryOperation | ForeignRoute | None:
    """Decodes a kernel message to the operation it reports; None if it does not concern the overlay."""
    if kind in {NEW_NEIGHBOUR, DELETE_NEIGHBOUR}:
        return _decode_neighbour(kind, body, own)
    if kind in {NEW_ROUTE, DELETE_ROUTE}:
        return _decode_route(kind, body, own)
    return None


def last_use(body: bytes, own: Own) -> tuple[str, float] | None:
    """Returns the MAC of an FDB entry and the seconds since it was last used to send."""
    family, _, _, index, _, _, _ = _NEIGHBOUR.unpack_from(body)
    found = attributes(body, _NEIGHBOUR.size)
    if family != socket.AF_BRIDGE or index != own.device or not {_NDA_LLADDR, _NDA_CACHEINFO} <= found.keys():
        return None
    _, used, _, _ = _CACHE_INFO.unpack_from(found[_NDA_CACHEINFO])
    return _mac(found[_NDA_LLADDR]), used / _TICKS


def dump_neighbours(device: int) -> bytes:
    """Builds a dump request for an interface's neighbours; kernels without this filter send those of all interfaces."""
    head = _NEIGHBOUR.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0)
    return message(GET_NEIGHBOUR, 0, head + attribute(_NDA_IFINDEX, _U32.pack(device)))


def dump_fdb(device: int) -> bytes:
    """Builds a dump request for an interface's FDB."""
    return message(GET_NEIGHBOUR, 0, _NEIGHBOUR.pack(socket.AF_BRIDGE, 0, 0, device, 0, 0, 0))


def dump_routes() -> bytes:
    """Builds a dump request for the routes of the main table."""
    return message(GET_ROUTE, 0, _ROUTE.pack(socket.AF_INET, 0, 0, 0, _MAIN_TABLE, 0, 0, 0, 0))


def _route(destination: str, route: Route, own: Own) -> bytes:
    network, length = _packed_network(destination)
    kind, flags = (_UNREACHABLE if route.unreachable else _UNICAST), (_ON_LINK if route.gateway else 0)
    scope = _LINK_SCOPE if route.on_bridge else 0
    parts = [
        _ROUTE.pack(socket.AF_INET, length, 0, 0, _MAIN_TABLE, own.protocol, scope, kind, flags),
        attribute(_RTA_DST, network),
    ]
    if route.on_bridge:
        parts.append(attribute(_RTA_OIF, _U32.pack(own.bridge)))
    if route.gateway:
        parts += [attribute(_RTA_GATEWAY, _packed(route.gateway)), attribute(_RTA_OIF, _U32.pack(own.device))]
    if route.mtu:
        parts.append(attribute(_RTA_METRICS, attribute(_RTAX_MTU, _U32.pack(route.mtu))))
    return b"".join(parts)


def _decode_neighbour(kind: int, body: bytes, own: Own) -> EntryOperation | None:
    family, _, _, index, state, flags, _ = _NEIGHBOUR.unpack_from(body)
    if index != own.device:
        return None
    found = attributes(body, _NEIGHBOUR.size)
    gone = kind == DELETE_NEIGHBOUR
    if family == socket.AF_INET and (gone or state & _PERMANENT) and _NDA_DST in found:
        address = _address(found[_NDA_DST])
        return op.DropNeighbour(address) if gone else op.PutNeighbour(address, _mac(found.get(_NDA_LLADDR, b"")))
    if family == socket.AF_BRIDGE and flags & _SELF and _NDA_LLADDR in found:
        mac = _mac(found[_NDA_LLADDR])
        return op.DropFdb(mac) if gone else op.PutFdb(mac, _address(found.get(_NDA_DST, b"")))
    return None


def _decode_route(kind: int, body: bytes, own: Own) -> EntryOperation | ForeignRoute | None:
    family, length, _, _, table, protocol, _, route_kind, _ = _ROUTE.unpack_from(body)
    if family != socket.AF_INET or table != _MAIN_TABLE:
        return None
    found = attributes(body, _ROUTE.size)
    destination = f"{_address(found.get(_RTA_DST, bytes(4)))}/{length}"
    if protocol != own.protocol:
        index = _U32.unpack(found[_RTA_OIF])[0] if _RTA_OIF in found else 0
        return ForeignRoute(destination, index, protocol)
    metrics = attributes(found[_RTA_METRICS], 0) if _RTA_METRICS in found else {}
    mtu = _U32.unpack(metrics[_RTAX_MTU])[0] if _RTAX_MTU in metrics else 0
    gateway = _address(found.get(_RTA_GATEWAY, b""))
    on_bridge = route_kind == _UNICAST and not gateway and found.get(_RTA_OIF) == _U32.pack(own.bridge)
    if route_kind != _UNREACHABLE and not on_bridge and found.get(_RTA_OIF) != _U32.pack(own.device):
        gateway = f"{gateway} elsewhere"  # another program's, with our protocol: matches no desired route
    if kind == DELETE_ROUTE:
        return op.DropRoute(destination)
    return op.PutRoute(destination, Route(gateway, mtu, on_bridge))


@lru_cache(_MEMORY)
def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@lru_cache(_MEMORY)
def _packed_mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


@lru_cache(_MEMORY)
def _packed_network(cidr: str) -> tuple[bytes, int]:
    network = IPv4Network(cidr)
    return network.network_address.packed, network.prefixlen


def _mac(packed: bytes) -> str:
    return packed.hex(":")


def _address(packed: bytes) -> str:
    if len(packed) == 4:  # noqa: PLR2004 — bytes of an IPv4 address
        return socket.inet_ntoa(packed)
    return socket.inet_ntop(socket.AF_INET6, packed) if packed else ""
