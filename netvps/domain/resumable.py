"""The client's end of a connection that outlives what carries it (tunnel/resume is the agent's end).

Both ends count bytes, and keep what the other one has not confirmed. A carrier has frames, each a kind (one byte), a
length (four bytes, big-endian), and a body:

    A  two numbers of bytes (eight bytes each): what its sender has received, and what of that its user has read;
       first on each carrier, and now and then
    D  bytes
    E  no more bytes follow from the client
    C  the connection is over, with a reason or none; answered by another C

The peer may send WINDOW bytes beyond what was read, so that a carrier is always read: what it has for one direction
never waits for the other.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from netvps.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

ID_SIZE: Final = 16
KEY_SIZE: Final = 32
OPEN_SIZE: Final = 1 + ID_SIZE + KEY_SIZE
RESUME_SIZE: Final = 1 + ID_SIZE + 8 + hashlib.sha256().digest_size
WINDOW: Final = 4 << 20
"""Maximum bytes that are sent and not read at the other end; as many are kept in case that the carrier breaks."""
_CONFIRM_EVERY: Final = 128 << 10
_MAX_DATA: Final = 256 << 10
_MAX_REASON: Final = 1 << 10
_HEAD: Final = struct.Struct("!cI")
_NUMBER: Final = struct.Struct("!Q")
_COUNTS: Final = struct.Struct("!QQ")


class Credential:
    """What opens a connection, and what carries it on: a key, and proofs of it that count once each."""

    def __init__(self, random: bytes) -> None:
        """`random` are ID_SIZE + KEY_SIZE secret bytes."""
        self._id, self._key = random[:ID_SIZE], random[ID_SIZE:]
        self._number = 0

    def attachment(self) -> bytes:
        """For the first carrier, then for each further one."""
        if self._number == 0:
            self._number = 1
            return b"\x01" + self._id + self._key
        begin = b"\x02" + self._id + _NUMBER.pack(self._number)
        self._number += 1
        return begin + hmac.digest(self._key, begin, "sha256")


class Resumable:
    """Turns bytes into frames and back, over several carriers. Errors of the agent are raised as Unavailable."""

    def __init__(self) -> None:
        self.over: str | None = None
        """Why the agent ended the connection, '' for a regular end; None while it did not."""
        self.attached = False
        """Whether the agent has said how much it has, on this carrier."""
        self._received = self._read = self._confirmed = 0
        self._kept: deque[bytes] = deque()
        self._base = self._high = self._end = 0
        """Numbers of bytes: confirmed, ever sent, and taken."""
        self._read_there = 0
        """Bytes that the agent has used."""
        self._next = self._sent = 0
        """Index in `_kept` of what is sent next, and bytes sent, on this carrier."""
        self._ended = self._said_end = self._said_over = False
        self._rest = bytearray()
        self._left = 0

    def attach(self) -> bytes:
        """The first frame for a new carrier."""
        self.attached = self._said_end = False
        self._rest.clear()
        self._left = 0
        return b"".join(self._counts())

    def _counts(self) -> tuple[bytes, bytes]:
        self._confirmed = self._read
        return _HEAD.pack(b"A", _COUNTS.size), _COUNTS.pack(self._received, self._read)

    @property
    def room(self) -> int:
        """Bytes that may be taken."""
        return 0 if self._ended else WINDOW - (self._end - self._read_there)

    def take(self, data: bytes) -> None:
        """Takes bytes for the agent; none are the end of them."""
        if data:
            self._kept.append(data)
            self._end += len(data)
        else:
            self._ended = True

    def read(self, unread: int) -> None:
        """Notes how many of the bytes that `feed` returned the SSH client has not read yet."""
        self._read = self._received - unread

    def to_send(self) -> tuple[bytes, bytes] | None:
        """A frame's head and body; None if there is nothing to be sent now."""
        if self._read - self._confirmed >= _CONFIRM_EVERY:
            return self._counts()
        if self.over is not None:
            said, self._said_over = self._said_over, True
            return None if said else (_HEAD.pack(b"C", 0), b"")
        if self.attached and self._next < len(self._kept):
            piece = self._kept[self._next]
            self._next += 1
            self._sent += len(piece)
            self._high = max(self._high, self._sent)
            return _HEAD.pack(b"D", len(piece)), piece
        if self.attached and self._ended and not self._said_end:
            self._said_end = True
            return _HEAD.pack(b"E", 0), b""
        return None

    def feed(self, data: memoryview) -> Iterator[memoryview]:
        """Yields the agent's bytes in what a carrier received. Raises Unavailable for what no agent sends."""
        while data and self.over is None:
            if self._left:
                piece = data[: self._left]
                self._left -= len(piece)
                self._received += len(piece)
                if self._received - self._read > WINDOW:
                    raise _nonsense(f"more than {WINDOW} bytes that were not read")
                data = data[len(piece) :]
                yield piece
                continue
            missing = self._missing()
            self._rest += data[:missing]
            data = data[missing:]
            if not self._missing():
                self._frame()

    def _missing(self) -> int:
        """Bytes that a frame lacks, without those of its body if it is D."""
        if len(self._rest) < _HEAD.size:
            return _HEAD.size - len(self._rest)
        kind, size = _HEAD.unpack_from(self._rest)
        limits = {b"A": (_COUNTS.size, _COUNTS.size), b"D": (1, _MAX_DATA), b"C": (0, _MAX_REASON)}
        least, most = limits.get(kind, (1, 0))
        if not least <= size <= most:
            raise _nonsense(f"a frame {kind!a} of {size} bytes")
        return 0 if kind == b"D" else _HEAD.size + size - len(self._rest)

    def _frame(self) -> None:
        kind, size = _HEAD.unpack_from(self._rest)
        body = bytes(self._rest[_HEAD.size :])
        self._rest.clear()
        if kind == b"A":
            self._confirm(*_COUNTS.unpack(body))
        elif kind == b"C":
            self.over = body.decode(errors="replace")
        elif self.attached:
            self._left = size
        else:
            raise _nonsense("bytes before their number")

    def _confirm(self, count: int, read: int) -> None:
        most = self._sent if self.attached else self._high
        if not (self._base <= count <= most and self._read_there <= read <= count):
            raise _nonsense(f"that it has {count} bytes, of {self._base} to {most}, and used {read}")
        self._read_there = read
        while self._kept and self._base + len(self._kept[0]) <= count:
            self._base += len(self._kept.popleft())
            self._next = max(0, self._next - 1)
        if self.attached:
            return
        self.attached = True
        if count > self._base:
            self._kept[0] = self._kept[0][count - self._base :]
            self._base = count
        self._next, self._sent = 0, count


def _nonsense(what: str) -> Unavailable:
    return Unavailable(f"the session's agent sent {what}: connect again, and report a bug if that persists")
