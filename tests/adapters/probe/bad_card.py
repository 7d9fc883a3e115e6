"""A wire between two network cards that forget what the kernel left to them: checksums, and cutting large pieces.

one: eth0 192.0.2.1 ── left ══ this process ══ right ── eth0 192.0.2.2 :two

What goes over a veth pair has neither yet, only a note of what is to be done (a virtio_net_hdr, to whoever asks for it
with PACKET_VNET_HDR); who copies frames without it makes what a card with broken offload within tunnels makes.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.support.namespaces import Namespace, namespace

_SOL_PACKET, _VNET_HEADER, _IGNORE_OUTGOING = 263, 15, 23
_HEADER = struct.Struct("=BBHHHH")
"""Flags, kind of segmentation, length of headers, size of a segment, where a checksum starts and where it goes."""
_NEEDS_CHECKSUM = 1
_RECEIVE_BUFFER_FORCED = 33
_ALL_FRAMES = 0x0003
_ENDS = ("left", "right")

_OUTER_UDP = 14 + 20
"""Where that header begins: what is not in a tunnel, these cards get right."""

Forgets = Callable[[int], bool]
"""Whether what is to be done within a tunnel is forgotten, by its kind of segmentation (0: none)."""


def everything(segmentation: int) -> bool:  # noqa: ARG001
    return True


def segments(segmentation: int) -> bool:
    return segmentation != 0


@contextmanager
def bad_cards(forgets: Forgets) -> Iterator[tuple[Namespace, Namespace]]:
    """The two machines."""
    with namespace() as wire, namespace() as one, namespace() as two:
        for number, (host, end) in enumerate(((one, "left"), (two, "right")), 1):
            wire.ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            wire.ip("link", "set", end, "up")
            host.ip("address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            host.ip("link", "set", "eth0", "up")
        with wire.inside():
            ends = [_opened(end) for end in _ENDS]
        copiers = [threading.Thread(target=_copy, args=(*pair, forgets)) for pair in (ends, ends[::-1])]
        for copier in copiers:
            copier.start()
        try:
            yield one, two
        finally:
            for end in _ENDS:
                wire.ip("link", "delete", end)  # the copiers end
            for copier in copiers:
                copier.join(10)
            for opened in ends:
                opened.close()


def _opened(link: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_FRAMES))
    opened.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCED, 8 << 20)
    for option in (_VNET_HEADER, _IGNORE_OUTGOING):
        opened.setsockopt(_SOL_PACKET, option, 1)
    opened.bind((link, 0))
    return opened


def _copy(source: socket.socket, target: socket.socket, forgets: Forgets) -> None:
    with suppress(OSError):  # the link is gone
        while True:
            frame = source.recv(1 << 17)
            flags, segmentation, _, _, start, _ = _HEADER.unpack_from(frame)
            if flags & _NEEDS_CHECKSUM and start > _OUTER_UDP and forgets(segmentation):
                frame = bytes(_HEADER.size) + frame[_HEADER.size :]
            with suppress(OSError):  # too large, as nothing segments it
                target.send(frame)
