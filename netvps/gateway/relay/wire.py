"""Messages between the gateway and the relay about one pair of connections (tunnel/relay/control.go).

A message is the length of what follows (four bytes, big-endian), its kind (a letter), its side (0: the client's, 1: the
agent's), and its body.
"""

from __future__ import annotations

import struct
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from netvps.errors import InternalError

_HEAD: Final = struct.Struct("!IcB")
_LENGTH: Final = 4
_LEAST: Final = _HEAD.size - _LENGTH
LIMIT: Final = 512 * 1024
"""Maximum size of a message of the relay, in bytes: it carries one packet."""
_COUNTS: Final = struct.Struct("!QQ")


class Kind(Enum):
    """Kinds of messages."""

    START = b"S"
    """To the relay, first: the state of both connections, as JSON."""
    PACKET = b"P"
    """A payload to send; from the relay, one received, after its sequence number (four bytes)."""
    RECV_KEYS = b"R"
    """To the relay: keys, as JSON, after a received NEWKEYS."""
    SEND_KEYS = b"W"
    """To the relay: keys, as JSON, after a NEWKEYS to send."""
    END = b"E"
    """To the relay: half-close once everything is sent, and drop further input."""
    ABORT = b"X"
    """To the relay: close."""
    DUE = b"D"
    """From the relay: new keys are due."""
    LOST = b"L"
    """From the relay: the side is not read any more; a cause (one byte), and a text."""
    COUNTS = b"C"
    """From the relay: bytes passed from the client, and from the agent (eight bytes each)."""


class Cause(IntEnum):
    """Why a side is not read any more."""

    END_OF_FILE = 0
    CONNECTION = 1
    PROTOCOL = 2
    MAC = 3


class Message(NamedTuple):
    """A message of the relay."""

    kind: Kind
    side: int
    body: bytes


def encode(kind: Kind, side: int, body: bytes = b"") -> bytes:
    """Encodes a message."""
    return _HEAD.pack(_LEAST + len(body), kind.value, side) + body


class Decoder:
    """Splits a stream of bytes into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """Adds received bytes."""
        self._rest += data

    def next(self) -> Message | None:
        """The next message if it is complete, else None. Raises InternalError."""
        if len(self._rest) < _HEAD.size:
            return None
        size, kind, side = _HEAD.unpack_from(self._rest)
        if not _LEAST <= size <= LIMIT or side > 1:
            raise InternalError(f"a message of {size} bytes about side {side} from the relay")
        if len(self._rest) < _LENGTH + size:
            return None
        body = bytes(self._rest[_HEAD.size : _LENGTH + size])
        del self._rest[: _LENGTH + size]
        try:
            return Message(Kind(kind), side, body)
        except ValueError:
            raise InternalError(f"a message of kind {kind!r} from the relay") from None


def counts(body: bytes) -> tuple[int, int]:
    """The numbers of COUNTS. Raises InternalError."""
    try:
        client, agent = _COUNTS.unpack(body)
    except struct.error:
        raise InternalError(f"counts of {len(body)} bytes from the relay") from None
    return client, agent


def cause(body: bytes) -> Cause:
    """The cause of LOST. Raises InternalError."""
    try:
        return Cause(body[0])
    except (IndexError, ValueError):
        raise InternalError(f"a cause {body[:1]!r} from the relay") from None
