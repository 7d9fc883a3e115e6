"""Thousands of requests in a few system calls: packed into chunks, with refusals matched by sequence number."""

from __future__ import annotations

import errno
import itertools
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, Self

from netvps.adapters.netlink.wire import (
    ACK,
    DUMP,
    DUMP_INTERRUPTED,
    HEADER,
    NLMSG_DONE,
    NLMSG_ERROR,
    Refusal,
    messages,
    refusal,
)
from netvps.errors import TimedOut, Unavailable

SECONDS: Final = 20.0
"""For an answer of the kernel; it answers at once, but for a machine that hardly runs."""
_CHUNK: Final = 48 * 1024
"""Bytes; the kernel takes no more than about 200 KiB in one."""
_BUFFER: Final = 4 << 20
_RECEIVE: Final = 256 * 1024
_DUMP_TRIES: Final = 5
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT = 270, 10, 11, 12
_SEQUENCE: Final = struct.Struct("=I")
_FLAGS: Final = struct.Struct("=H")
_FLAGS_AT, _SEQUENCE_AT = 6, 8


class BulkSocket:
    """An own rtnetlink socket of the namespace it is made in; blocking, so for one thread that may block."""

    def __init__(self) -> None:
        self._sequence = itertools.count(1)
        self._socket = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes it; twice is fine."""
        self._socket.close()

    def request(self, requests: Sequence[bytes]) -> list[Refusal | None]:
        """Sends all; returns for each what the kernel says against it. Raises TimedOut, or Unavailable.

        Only the last of a chunk asks for an acknowledgement: the kernel works in order, and tells of errors unasked.
        """
        refusals: list[Refusal | None] = [None] * len(requests)
        for start, end in _chunks(requests):
            self._chunk(requests[start:end], start, refusals)
        return refusals

    def dump(self, request: bytes) -> list[tuple[int, bytes]]:
        """Type and body of each message of a dump that was not changed while it was read."""
        for _ in range(_DUMP_TRIES):
            if (found := self._dump(request)) is not None:
                return found
        raise Unavailable("the kernel's network changes faster than it can be read; trying again later")

    def _chunk(self, requests: Sequence[bytes], start: int, refusals: list[Refusal | None]) -> None:
        packet = bytearray()
        first = 0
        for number, request in enumerate(requests):
            sequence = next(self._sequence) & 0xFFFFFFFF
            first = first or sequence
            at = len(packet)
            packet += request
            _SEQUENCE.pack_into(packet, at + _SEQUENCE_AT, sequence)
            if number == len(requests) - 1:
                (flags,) = _FLAGS.unpack_from(packet, at + _FLAGS_AT)
                _FLAGS.pack_into(packet, at + _FLAGS_AT, flags | ACK)
        self._send(packet)
        last = len(requests) - 1
        for kind, flags, sequence, _, body in self._answers():
            number = sequence - first
            if kind != NLMSG_ERROR or not 0 <= number <= last:
                continue  # a late answer to a request that was given up
            refusals[start + number] = refusal(flags, body)
            if number == last:
                return

    def _dump(self, request: bytes) -> list[tuple[int, bytes]] | None:
        sequence = next(self._sequence) & 0xFFFFFFFF
        packet = bytearray(request)
        (flags,) = _FLAGS.unpack_from(packet, _FLAGS_AT)
        _FLAGS.pack_into(packet, _FLAGS_AT, flags | DUMP)
        _SEQUENCE.pack_into(packet, _SEQUENCE_AT, sequence)
        self._send(packet)
        found: list[tuple[int, bytes]] = []
        whole = True
        for kind, flags, answered, _, body in self._answers():
            if answered != sequence:
                continue
            whole = whole and not flags & DUMP_INTERRUPTED
            if kind in {NLMSG_DONE, NLMSG_ERROR}:  # a dump that failed late says so in its end
                if why := refusal(flags, body):
                    raise Unavailable(f"the kernel does not tell of its network: {why}")
                break
            found.append((kind, body))
        return found if whole else None

    def _send(self, packet: bytearray) -> None:
        try:
            self._socket.send(packet)
        except OSError as error:
            self._reopen()
            raise Unavailable(f"the kernel takes no changes of the network: {error.strerror}") from None

    def _answers(self) -> Iterator[tuple[int, int, int, int, bytes]]:
        """Messages until the caller has enough. A socket that lost some, or heard none in time, is replaced."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                yield from messages(self._socket.recv(_RECEIVE))
            except TimeoutError:
                break
            except OSError as error:
                self._reopen()
                lost = "answers of the kernel were lost" if error.errno == errno.ENOBUFS else str(error.strerror)
                raise Unavailable(f"netlink: {lost}; trying again") from None
        self._reopen()
        raise TimedOut(f"the kernel did not answer in {SECONDS:.0f} s; see whether the machine is overloaded")

    def _reopen(self) -> None:
        """After a lost answer, nothing that comes on this socket can be trusted to belong to what was asked last."""
        self._socket.close()
        self._socket = self._open()

    @staticmethod
    def _open() -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        opened.settimeout(SECONDS)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            opened.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        for option in (_CAP_ACK, _EXT_ACK, _STRICT):
            with suppress(OSError):  # a kernel before 4.20: answers are longer, and dumps not chosen from
                opened.setsockopt(_SOL_NETLINK, option, 1)
        opened.bind((0, 0))
        return opened


def _chunks(requests: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Ranges of requests that are sent together."""
    start = size = 0
    for number, request in enumerate(requests):
        if size and size + len(request) > _CHUNK:
            yield start, number
            start, size = number, 0
        size += len(request)
    if size:
        yield start, len(requests)


assert HEADER.size == 16  # noqa: S101, PLR2004 — both offsets above stand on it
