"""ICMP echo with "do not fragment", of any size: implements runner.overlay.ports.Prober (RFC 792, icmp(7), raw(7)).

IP_PMTUDISC_PROBE ignores the kernel's cached path MTU: packets are sent unfragmented up to the device's MTU.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Self

import structlog

_IP, _ICMP = 20, 8
_TOKEN: Final = 16
_HEADER: Final = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence number."""
_REQUEST, _REPLY = 8, 0
_MTU_DISCOVER, _PROBE = 10, 3
_SOL_RAW, _ICMP_FILTER = 255, 1
_ONLY_REPLIES: Final = struct.pack("=I", ~(1 << _REPLY) & 0xFFFFFFFF)
_SEND_BUFFER_FORCED, _RECEIVE_BUFFER_FORCED = 32, 33
_BUFFER: Final = 4 << 20
_AT_ONCE: Final = 1024
_READ_AT_ONCE: Final = 64
_RECEIVE: Final = 65535
SMALLEST: Final = _IP + _ICMP + _TOKEN
"""Bytes of the smallest packet that can be recognised."""
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Sent:
    address: str
    payload: bytes
    answered: asyncio.Future[float]


class Echo:
    """An async context manager with one socket of the network namespace in which it is entered."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._sent: dict[bytes, _Sent] = {}
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def __aenter__(self) -> Self:
        try:
            self._socket = _opened()
        except PermissionError:
            log.warning("cannot measure links to other runners: no CAP_NET_RAW; run the runner as root or grant it")
            return self
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._socket:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    @property
    def able(self) -> bool:
        """Whether this process may send ICMP echoes."""
        return self._socket is not None

    async def echo(self, address: str, size: int, seconds: float) -> float | None:
        """Returns the round trip in seconds of a packet of `size` bytes including the IP header; None on timeout.

        A packet that cannot be sent counts as lost, as does, for now, every IPv6 address.
        """
        if self._socket is None or ":" in address:
            return None
        async with self._free:
            return await self._exchange(self._socket, address, max(size, SMALLEST), seconds)

    async def _exchange(self, through: socket.socket, address: str, size: int, seconds: float) -> float | None:
        loop = asyncio.get_running_loop()
        payload = os.urandom(size - _IP - _ICMP)
        token = payload[:_TOKEN]
        sent = _Sent(address, payload, loop.create_future())
        self._sent[token] = sent
        began = perf_counter()  # uvloop's own clock counts milliseconds
        try:
            through.sendto(_request(payload), (address, 0))
            async with asyncio.timeout(seconds):
                return await sent.answered - began
        except OSError:  # includes TimeoutError, "no route", "too large", "buffer full"
            answered = sent.answered.done() and not sent.answered.cancelled()
            return sent.answered.result() - began if answered else None  # it came in time, but the event loop was busy
        finally:
            del self._sent[token]

    def _read(self) -> None:
        assert self._socket is not None  # noqa: S101 — its reader calls this
        with suppress(OSError):  # no more packets; or an ICMP error, which means no answer
            for _ in range(_READ_AT_ONCE):
                packet, (address, *_rest) = self._socket.recvfrom(_RECEIVE)
                self._take(packet, address)

    def _take(self, packet: bytes, address: str) -> None:
        """Resolves the echo that a packet answers; a reply must repeat the payload, as anyone may send packets."""
        start = 4 * (packet[0] & 0x0F) if packet[:1] and packet[0] >> 4 == 4 else 0  # noqa: PLR2004 — version of IP
        payload = packet[start + _ICMP :]
        sent = self._sent.get(payload[:_TOKEN])
        is_reply = packet[start : start + 1] == bytes([_REPLY])
        if sent and is_reply and sent.address == address and sent.payload == payload and not sent.answered.done():
            sent.answered.set_result(perf_counter())


def _opened() -> socket.socket:
    """Opens a raw socket, or an unprivileged ping socket where the machine allows it. Raises PermissionError."""
    try:
        opened = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
        opened.setsockopt(_SOL_RAW, _ICMP_FILTER, _ONLY_REPLIES)
    except PermissionError:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
    opened.setblocking(False)
    for option in (_SEND_BUFFER_FORCED, _RECEIVE_BUFFER_FORCED):
        with suppress(PermissionError):
            opened.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    opened.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _PROBE)
    return opened


def _request(payload: bytes) -> bytes:
    identifier = secrets.randbits(16)
    checksum = _checksum(_HEADER.pack(_REQUEST, 0, 0, identifier, 0) + payload)
    return _HEADER.pack(_REQUEST, 0, checksum, identifier, 0) + payload


def _checksum(data: bytes) -> int:
    """Computes the internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
