"""Announces on a link, by ARP (RFC 5227, section 2.3), that an address is reached by the link's own MAC."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address
from typing import Final

_ETHERTYPE_ARP: Final = 0x0806
_BROADCAST: Final = b"\xff" * 6
_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET, _IPV4, _REQUEST = 1, 0x0800, 1


def announce(link: str, address: str) -> str:
    """Sends the announcement; returns why that failed, or ''. Hosts that do not know the address ignore it."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as opened:
            opened.bind((link, _ETHERTYPE_ARP))
            mac = opened.getsockname()[4]
            opened.send(frame(mac, address))
    except OSError as error:
        return f"cannot announce {address} on {link}: {error.strerror}; run the runner as root or with CAP_NET_RAW"
    return ""


def frame(mac: bytes, address: str) -> bytes:
    """The frame: a request to all, in which the address is both the sender's and the target's."""
    packed = IPv4Address(address).packed
    head = _BROADCAST + mac + struct.pack("!H", _ETHERTYPE_ARP)
    return head + _ARP.pack(_ETHERNET, _IPV4, 6, 4, _REQUEST, mac, packed, bytes(6), packed)
