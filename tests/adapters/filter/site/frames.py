"""Frames by hand, true or not: what a session or a stranger may put on the wire."""

from __future__ import annotations

import socket
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"


def ether(source: str, target: str, payload: bytes, kind: int = 0x0800) -> bytes:
    """An Ethernet frame from MAC to MAC."""
    return bytes.fromhex((target + source).replace(":", "")) + struct.pack("!H", kind) + payload


def ipv4(source: str, target: str, payload: bytes, protocol: int = socket.IPPROTO_UDP) -> bytes:
    """RFC 791, without options."""
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + addresses
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + payload


def udp(port: int, payload: bytes) -> bytes:
    """RFC 768, without a checksum."""
    return struct.pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload


def arp(mac: str, address: str, asked: str, *, reply: bool = False) -> bytes:
    """RFC 826: "I am `address` at `mac`", asking who `asked` is, or telling it."""
    operation = 2 if reply else 1
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return head + bytes.fromhex(mac.replace(":", "")) + socket.inet_aton(address) + bytes(6) + socket.inet_aton(asked)


def vxlan(vni: int, frame: bytes) -> bytes:
    """RFC 7348."""
    return struct.pack("!BxxxI", 0x08, vni << 8) + frame


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
