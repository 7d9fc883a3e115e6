"""Changes of elements as one transaction of nftables in our namespace, without `nft`, which reads all sets first.

The kernel refuses it if anybody has changed nftables meanwhile: what was known before is known after.
"""

from __future__ import annotations

import errno
import socket
import struct
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


def change(elements: Iterable[Elements], generation: int) -> Refusal | None:
    """Makes all of it, or nothing, if nftables is of that generation; it is of the next one then. Blocks.

    What got no answer in time may have been made.
    """
    try:
        sent = [request for each in elements for request in requests(each)]
        packet = _packet(sent, generation)
        return _answer(packet, len(sent) + 1)
    except ValueError as error:
        return Refusal(errno.EOPNOTSUPP, str(error))
    except OSError as error:
        return Refusal(error.errno or errno.ETIMEDOUT, "")


def _packet(sent: Sequence[bytes], generation: int) -> bytearray:
    """With sequence numbers from 1 on. The last request asks for an answer; of errors the kernel tells unasked."""
    begin = message(_BEGIN, 0, _HEAD + attribute(_GENERATION, struct.pack(">I", generation)))
    packet = bytearray()
    for number, part in enumerate((begin, *sent, message(_END, 0, _HEAD)), 1):
        at = len(packet) + _FLAGS_AT
        packet += part
        flags, _ = _FLAGS_AND_SEQUENCE.unpack_from(packet, at)
        _FLAGS_AND_SEQUENCE.pack_into(packet, at, flags | ACK if number == len(sent) + 1 else flags, number)
    if len(packet) > _LONGEST:
        raise OSError(errno.EMSGSIZE, "too long")
    return packet


def _answer(packet: bytearray, last: int) -> Refusal | None:
    """The first error, the whole transaction's (number 1) or a request's; or else the answer to the last request.

    Answers come once all is done, errors of the whole before those of its parts.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _LONGEST)
        for option in (_CAP_ACK, _EXT_ACK):
            with suppress(OSError):  # an old kernel: answers are longer, and have no words
                opened.setsockopt(_SOL_NETLINK, option, 1)
        opened.send(packet)
        for flags, number, body in _answers(opened):
            if (why := refusal(flags, body)) or number == last:
                return why
    return Refusal(errno.ETIMEDOUT, "")


def _answers(opened: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Flags, sequence number and body of each, for some seconds."""
    deadline = time.monotonic() + _SECONDS
    while (left := deadline - time.monotonic()) > 0:
        opened.settimeout(left)
        for kind, flags, number, _, body in messages(opened.recv(_RECEIVE)):
            if kind == NLMSG_ERROR:
                yield flags, number, body
