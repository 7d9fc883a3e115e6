"""Bounds what one SSH connection may have done in one turn of the event loop, so that no peer holds it for others.

asyncssh handles all packets of its buffer in a row, and copies what is left of the buffer for each of them: a quarter
of a megabyte of 16-byte packets takes a second. Here it is given 64 KiB and 128 packets a turn. What came beyond that
waits, and reading from the transport pauses, so that the peer waits too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asyncssh.connection import SSHConnection

    _Base = SSHConnection
else:
    _Base = object

TURN_BYTES: Final = 64 * 1024
TURN_PACKETS: Final = 128


class Paced(_Base):
    """A mixin for asyncssh's connection classes; it owns pausing and resuming of the transport's reading."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unread: deque[bytes] = deque()
        self._bytes_left = TURN_BYTES
        self._packets_left = TURN_PACKETS
        self._short = False
        """Whether packets wait in asyncssh's buffer for the next turn."""
        self._next_turn: asyncio.Handle | None = None
        self._held = False

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Handles what this turn has room for."""
        self._unread.append(data)
        self._spend()

    def must_wait(self) -> bool:
        """Whether nothing more is to be read now, because of this connection's own backlog."""
        return self._short or bool(self._unread)

    def balance(self) -> None:
        """Pauses or resumes reading, as `must_wait` says."""
        if self._transport is None or self._transport.is_closing():
            return
        hold = self.must_wait()
        if hold and not self._held:
            self._held = True
            self._transport.pause_reading()
        elif self._held and not hold:
            self._held = False
            self._transport.resume_reading()

    def forget_unread(self) -> None:
        """Drops what waits, and takes no more turns."""
        self._unread.clear()
        self._short = False
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None

    def _spend(self) -> None:
        """Gives asyncssh what is left of this turn's budget. The next turn has a whole one, whoever is called first."""
        if self._next_turn is None:
            self._next_turn = self._loop.call_soon(self._begin_turn)
        while self._unread and self._bytes_left > 0 and not self._short:
            piece = self._unread.popleft()
            if len(piece) > self._bytes_left:
                self._unread.appendleft(piece[self._bytes_left :])
                piece = piece[: self._bytes_left]
            self._bytes_left -= len(piece)
            super().data_received(piece)
        self.balance()

    def _begin_turn(self) -> None:
        self._next_turn = None
        self._bytes_left, self._packets_left = TURN_BYTES, TURN_PACKETS
        if self._transport is None:
            self.forget_unread()
        elif self.must_wait():
            if self._short:
                self._short = False
                self._recv_data()
            self._spend()

    def _recv_packet(self) -> bool:
        """As asyncssh's, which calls it until it returns False: also when this turn has had enough packets."""
        if self._packets_left <= 0:
            self._short = True
            if self._next_turn is None:  # called by a task of asyncssh, between turns
                self._next_turn = self._loop.call_soon(self._begin_turn)
            self.balance()
            return False
        self._packets_left -= 1
        return super()._recv_packet()

    def _cleanup(self, exc: Exception | None) -> None:
        self.forget_unread()
        super()._cleanup(exc)
