"""Sends thousands of rtnetlink requests in a few system calls.

What it does. `BulkSocket.request` packs many requests into one datagram of at most 48 KiB and sends it with one system
call. The kernel processes a datagram's messages in order and reports errors unasked, so only the last message asks for
an acknowledgement; an error belongs to the request with its sequence number. `dump` reads a table and repeats if it
changed meanwhile (NLM_F_DUMP_INTR). A socket that lost answers (ENOBUFS, timeout) is replaced: a late answer could
otherwise be taken for one to a later request. wire.py has the format of messages and attributes, entries.py encodes
neighbours, FDB entries and routes.

Why not a library. A runner programs a neighbour, an FDB entry and a route for each of up to thousands of peers, and
reads them back. pyroute2, which netvps uses for links and addresses, needs about 0.6 ms per request and about as much
per dumped object: about 9 s for the entries of 5,000 peers. This file takes about half the time of `ip -batch`
plus `bridge -batch` (`scripts/bench program`; ADR 0012). The price is about 200 lines that know netlink's wire format,
which is kernel ABI.

How it is verified. tests/adapters/netlink runs against the kernel of a fresh network namespace: each refusal is matched
with its request across chunks, dumps return what was written, late and lost answers are simulated; entries are also
checked with `ip` and `bridge`. At run time the runner dumps the kernel's state after each change by another program,
and every 30 to 60 s, and repairs any difference.

How to switch it off. There is no switch: without this file the runner cannot program the overlay. To see the requests,
run `strace -e trace=sendto,recvfrom -p PID`; to compare the result, `ip neigh show dev nv0`, `bridge fdb show dev nv0`,
`ip route show proto 201`. `netvps runner --overlay false` runs sessions without the overlay.
"""

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
"""Timeout of an answer; the kernel answers at once unless the machine is overloaded."""
_CHUNK: Final = 48 * 1024
"""Bytes per datagram; the kernel accepts up to about 200 KiB."""
_BUFFER: Final = 4 << 20
_RECEIVE: Final = 256 * 1024
_DUMP_TRIES: Final = 5
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT = 270, 10, 11, 12
_SEQUENCE: Final = struct.Struct("=I")
_FLAGS: Final = struct.Struct("=H")
_FLAGS_AT, _SEQUENCE_AT = 6, 8


class BulkSocket:
    """A private rtnetlink socket of the namespace it is created in. Blocks; for one thread."""

    def __init__(self) -> None:
        self._sequence = itertools.count(1)
        self._socket = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the socket; idempotent."""
        self._socket.close()

    def request(self, requests: Sequence[bytes]) -> list[Refusal | None]:
        """Sends all requests and returns each one's refusal, or None. Raises TimedOut or Unavailable.

        Only the last request of a chunk asks for an acknowledgement: the kernel works in order, and reports errors
        unasked.
        """
        refusals: list[Refusal | None] = [None] * len(requests)
        for start, end in _chunks(requests):
            self._chunk(requests[start:end], start, refusals)
        return refusals

    def dump(self, request: bytes) -> list[tuple[int, bytes]]:
        """Returns type and body of each message of a consistent dump. Raises TimedOut or Unavailable."""
        for _ in range(_DUMP_TRIES):
            if (found := self._dump(request)) is not None:
                return found
        raise Unavailable(
            "cannot read the kernel's network: it changed during each of several reads; the runner retries"
        )

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
                continue  # a late answer to an earlier request that timed out
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
            if kind in {NLMSG_DONE, NLMSG_ERROR}:  # NLMSG_DONE carries the error of a dump that failed midway
                if why := refusal(flags, body):
                    raise Unavailable(f"cannot read the kernel's network: {why}; the runner retries")
                break
            found.append((kind, body))
        return found if whole else None

    def _send(self, packet: bytearray) -> None:
        try:
            self._socket.send(packet)
        except OSError as error:
            self._reopen()
            raise Unavailable(f"cannot send to the kernel (netlink): {error.strerror}; the runner retries") from None

    def _answers(self) -> Iterator[tuple[int, int, int, int, bytes]]:
        """Yields messages until the caller stops. Replaces a socket that lost some or timed out."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                yield from messages(self._socket.recv(_RECEIVE))
            except TimeoutError:
                break
            except OSError as error:
                self._reopen()
                lost = "the receive buffer overflowed" if error.errno == errno.ENOBUFS else str(error.strerror)
                raise Unavailable(f"cannot read the kernel's answer (netlink): {lost}; the runner retries") from None
        self._reopen()
        raise TimedOut(f"the kernel did not answer in {SECONDS:.0f} s (netlink); check the machine's load")

    def _reopen(self) -> None:
        """Replaces the socket: after a lost answer, what arrives on it may belong to an earlier request."""
        self._socket.close()
        self._socket = self._open()

    @staticmethod
    def _open() -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        opened.settimeout(SECONDS)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            opened.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        for option in (_CAP_ACK, _EXT_ACK, _STRICT):
            with suppress(OSError):  # before Linux 4.20: longer answers, unfiltered dumps
                opened.setsockopt(_SOL_NETLINK, option, 1)
        opened.bind((0, 0))
        return opened


def _chunks(requests: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Yields ranges of requests that fit into one datagram."""
    start = size = 0
    for number, request in enumerate(requests):
        if size and size + len(request) > _CHUNK:
            yield start, number
            start, size = number, 0
        size += len(request)
    if size:
        yield start, len(requests)


assert HEADER.size == 16  # noqa: S101, PLR2004 — both offsets above depend on it
