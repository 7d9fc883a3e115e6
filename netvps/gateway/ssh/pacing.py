"""Limits the work of one SSH connection per turn of the event loop, so that no peer can block the others.

asyncssh handles all packets in its buffer in a row, and copies the rest of the buffer for each of them: a quarter of a
megabyte of 16-byte packets takes a second. This class passes on at most 64 KiB and 128 packets per turn. Further data
is queued, and reading from the transport pauses, so that TCP flow control stops the peer.
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
    """A mixin for asyncssh's connection classes. It owns pausing and resuming reads of the transport."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unread: deque[bytes] = deque()
        self._bytes_left = TURN_BYTES
        self._packets_left = TURN_PACKETS
        self._short = False
        """Whether complete packets remain in asyncssh's buffer for the next turn."""
        self._next_turn: asyncio.Handle | None = None
        self._held = False

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Handles as much as fits in this turn."""
        self._unread.append(data)
        self._spend()

    def must_wait(self) -> bool:
        """Whether reading has to pause because of this connection's own backlog."""
        return self._short or bool(self._unread)

    def balance(self) -> None:
        """Pauses or resumes reading according to `must_wait`."""
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
        """Drops queued data and schedules no more turns."""
        self._unread.clear()
        self._short = False
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None

    def _spend(self) -> None:
        """Passes data to asyncssh within this turn's budget.

        The next turn has a full budget, whichever callback runs first.
        """
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
        """As in asyncssh, which calls it until it returns False; returns False also when the budget is used up."""
        if self._packets_left <= 0:
            self._short = True
            if self._next_turn is None:  # called from a task of asyncssh, outside of a turn
                self._next_turn = self._loop.call_soon(self._begin_turn)
            self.balance()
            return False
        self._packets_left -= 1
        return super()._recv_packet()

    def _cleanup(self, exc: Exception | None) -> None:
        self.forget_unread()
        super()._cleanup(exc)
