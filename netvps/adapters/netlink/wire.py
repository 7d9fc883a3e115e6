"""The wire format of netlink: messages, attributes, acknowledgements (linux/netlink.h). See bulk.py for the reasons."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4
REQUEST, ACK, ACK_TLVS = 0x1, 0x4, 0x200
DUMP, DUMP_INTERRUPTED = 0x300, 0x10
REPLACE, CREATE = 0x100, 0x400
NESTED: Final = 0x8000
"""Flag of an attribute's type: its value is a list of attributes."""
HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length including itself, type, flags, sequence number, port of the sender."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
_TYPE_MASK = 0x3FFF
"""Removes the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
_ERROR_TEXT = 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """The kernel's refusal of a request: errno, and its message if it sent one."""

    errno: int
    text: str

    def __str__(self) -> str:
        reason = os.strerror(self.errno)
        return f"{self.text} ({reason})" if self.text else reason


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Builds a request; the socket fills in the sequence number."""
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 0, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """Builds an attribute, padded to 4 bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def messages(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Yields type, flags, sequence number, port of the sender and body of each message of a datagram."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > len(data):
            return
        yield kind, flags, sequence, port, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def attributes(body: bytes, offset: int) -> dict[int, bytes]:
    """Returns values by type, from `offset` on."""
    found = {}
    end = len(body)
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if not _ATTRIBUTE.size <= length <= end - offset:
            break
        found[kind & _TYPE_MASK] = body[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def refusal(flags: int, body: bytes) -> Refusal | None:
    """Decodes an NLMSG_ERROR; None for an acknowledgement."""
    (code,) = _ERROR.unpack_from(body)
    if code == 0:
        return None
    text = b""
    if flags & ACK_TLVS:  # after the request's header; NETLINK_CAP_ACK omits its body
        text = attributes(body, _ERROR.size + HEADER.size).get(_ERROR_TEXT, b"")
    return Refusal(-code, text.rstrip(b"\0").decode(errors="replace"))
