"""Changes of elements as one transaction of nftables in our namespace, without `nft`, which reads all sets first.

The kernel refuses it if anybody has changed nftables meanwhile: what was known before is known after.
"""

from __future__ import annotations

import errno
import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from netvps.adapters.filter.elements import NFTABLES, requests
from netvps.adapters.netlink.wire import ACK, NLMSG_ERROR, Refusal, attribute, message, messages, refusal
from netvps.domain.overlay.nft import Elements

_NETLINK_NETFILTER: Final = 12
_BEGIN, _END = 0x10, 0x11
_GENERATION: Final = 1
_HEAD: Final = struct.pack(">BBH", 0, 0, NFTABLES)
_SECONDS: Final = 5.0
_LONGEST: Final = 128 * 1024
"""Bytes: a transaction is one datagram, and for what is longer `nft` is not slow."""
_RECEIVE: Final = 64 * 1024
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_FLAGS_AND_SEQUENCE: Final = struct.Struct("=HI")
_FLAGS_AT: Final = 6


class Batch:
    """An own socket, of the namespace where it is used first.

    It stays open: where one is closed, the kernel first waits until all is freed that went, some 10 ms.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._sequence = itertools.count(1)
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Closes it; twice is fine. Whoever uses it afterwards opens another."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def change(self, elements: Iterable[Elements], generation: int) -> Refusal | None:
        """Makes all of it, or nothing, if nftables is of that generation; it is of the next one then. Blocks.

        What got no answer in time may have been made.
        """
        try:
            sent = [request for each in elements for request in requests(each)]
        except ValueError as error:
            return Refusal(errno.EOPNOTSUPP, str(error))
        begin = message(_BEGIN, 0, _HEAD + attribute(_GENERATION, struct.pack(">I", generation)))
        with self._turn:
            try:
                return self._made([begin, *sent, message(_END, 0, _HEAD)])
            except OSError as error:
                self.close()  # answers may have been lost, or still come
                return Refusal(error.errno or errno.ETIMEDOUT, "")

    def _made(self, parts: Sequence[bytes]) -> Refusal | None:
        """The first error, of the whole or of a part; without one the answer to the last part that makes something.

        Answers come once all is done, errors of the whole before those of its parts.
        """
        numbers = [next(self._sequence) & 0xFFFFFFFF for _ in parts]
        self._socket = self._socket or _opened()
        self._socket.send(_packet(parts, numbers))
        for flags, number, body in _answers(self._socket):
            why = refusal(flags, body)
            if (why and number in numbers) or number == numbers[-2]:
                return why
        raise TimeoutError


def _packet(parts: Sequence[bytes], numbers: Sequence[int]) -> bytearray:
    """The last but the end asks for an answer; of errors the kernel tells unasked."""
    packet = bytearray()
    for part, number in zip(parts, numbers, strict=True):
        at = len(packet) + _FLAGS_AT
        packet += part
        flags, _ = _FLAGS_AND_SEQUENCE.unpack_from(packet, at)
        _FLAGS_AND_SEQUENCE.pack_into(packet, at, flags | (ACK if number == numbers[-2] else 0), number)
    if len(packet) > _LONGEST:
        raise OSError(errno.EMSGSIZE, "too long")
    return packet


def _opened() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _LONGEST)
    for option in (_CAP_ACK, _EXT_ACK):
        with suppress(OSError):  # an old kernel: answers are longer, and have no words
            opened.setsockopt(_SOL_NETLINK, option, 1)
    return opened


def _answers(opened: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Flags, sequence number and body of each, for some seconds."""
    deadline = time.monotonic() + _SECONDS
    while (left := deadline - time.monotonic()) > 0:
        opened.settimeout(left)
        for kind, flags, number, _, body in messages(opened.recv(_RECEIVE)):
            if kind == NLMSG_ERROR:
                yield flags, number, body
