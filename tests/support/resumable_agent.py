"""The agent's end of a connection that outlives its carriers (tunnel/resume), without a network."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

HEAD = struct.Struct("!cI")


def frame(kind: bytes, body: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(body)) + body


def counts(received: int, read: int | None = None) -> bytes:
    return frame(b"A", struct.pack("!QQ", received, received if read is None else read))


@dataclass
class AgentEnd:
    """Takes frames, and makes those for what it has to say."""

    said: bytes = b""
    """What it has to send, from the first byte on."""
    got: bytes = b""
    ended: bool = False
    """Whether the client's bytes have ended."""
    over: bool = False
    """Whether the client said that the connection is over."""
    client_has: int = 0
    attached: bool = False
    sent: int = 0
    _unread: bytes = field(default=b"", repr=False)
    _left: int = 0

    def attach(self) -> bytes:
        self.attached, self._unread, self._left = False, b"", 0
        return counts(len(self.got))

    def feed(self, data: bytes) -> None:
        self._unread += data
        while self._unread:
            if self._left:
                piece, self._unread = self._unread[: self._left], self._unread[self._left :]
                self.got += piece
                self._left -= len(piece)
                continue
            if len(self._unread) < HEAD.size:
                return
            kind, size = HEAD.unpack_from(self._unread)
            if kind == b"D":
                self._left, self._unread = size, self._unread[HEAD.size :]
                continue
            if len(self._unread) < HEAD.size + size:
                return
            body, self._unread = self._unread[HEAD.size : HEAD.size + size], self._unread[HEAD.size + size :]
            if kind == b"A":
                self.client_has = struct.unpack("!QQ", body)[0]
                self.sent = self.sent if self.attached else self.client_has
                self.attached = True
            self.ended |= kind == b"E"
            self.over |= kind == b"C"

    def data(self, limit: int = 100_000) -> bytes:
        """The next frames for the client; none before it is attached."""
        if not self.attached:
            return b""
        piece = self.said[self.sent : self.sent + limit]
        self.sent += len(piece)
        return frame(b"D", piece) if piece else b""
