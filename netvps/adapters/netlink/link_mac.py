"""The MAC of a link: asked by ioctl, for which any user and any socket will do (netdevice(7))."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

_SIOCGIFHWADDR: Final = 0x8927
_REQUEST: Final = struct.Struct("16sH6s16x")
"""ifreq: name; then family and bytes of a sockaddr. Of the process' own namespace, which /sys need not be."""


def link_mac(name: str) -> str:
    """Of the link of that name in our network namespace; '' if there is none, or it cannot be told."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            answer = fcntl.ioctl(opened, _SIOCGIFHWADDR, _REQUEST.pack(name.encode(), 0, b""))
    except OSError:
        return ""
    mac: bytes = _REQUEST.unpack(answer)[2]
    return mac.hex(":")
