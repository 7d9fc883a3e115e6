"""Reads an interface's MAC by ioctl, which needs no privilege (netdevice(7))."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

_SIOCGIFHWADDR: Final = 0x8927
_REQUEST: Final = struct.Struct("16sH6s16x")
"""struct ifreq: name; family and bytes of a sockaddr. An ioctl uses this process' namespace, /sys maybe another."""


def link_mac(name: str) -> str:
    """Returns the MAC of an interface of this network namespace; '' if there is none or it is unknown."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            answer = fcntl.ioctl(opened, _SIOCGIFHWADDR, _REQUEST.pack(name.encode(), 0, b""))
    except OSError:
        return ""
    mac: bytes = _REQUEST.unpack(answer)[2]
    return mac.hex(":")
