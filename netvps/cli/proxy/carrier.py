"""Passes bytes on between an SSH client's pipes and the connection to a session, until either ends or that breaks."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import socket

    from netvps.domain.resumable import Resumable

_PIECE: Final = 256 << 10
_END_SECONDS: Final = 5.0
"""For the session to end the connection, once the SSH client has."""
_PIPE_SIZE: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031
"""fcntl of Linux, which Python names from 3.10 on, there only."""


class Pipes:
    """The SSH client's ends: `source` is read, `sink` is written. A context manager that makes them non-blocking."""

    def __init__(self, source: int, sink: int) -> None:
        self.source, self.sink = source, sink
        self.ended = False
        """Whether the client has closed one."""
        self.unwritten = bytearray()
        """For the client."""

    def __enter__(self) -> Self:
        import fcntl

        self._blocking = [(end, os.get_blocking(end)) for end in (self.source, self.sink)]
        for end, _ in self._blocking:
            os.set_blocking(end, False)
            with suppress(OSError):  # no pipe, or another system
                fcntl.fcntl(end, _F_SETPIPE_SZ, _PIPE_SIZE)
        return self

    def __exit__(self, *_: object) -> None:
        for end, blocking in self._blocking:
            with suppress(OSError):
                os.set_blocking(end, blocking)

    def write(self, piece: memoryview | bytes = b"") -> None:
        """Writes what fits, and keeps the rest."""
        try:
            if self.unwritten:
                del self.unwritten[: os.write(self.sink, self.unwritten)]
            elif piece:
                piece = piece[os.write(self.sink, piece) :]
        except BlockingIOError:
            pass
        except OSError:  # it is gone
            self.ended = True
            self.unwritten.clear()
            return
        self.unwritten += piece

    def read(self, size: int) -> bytes | None:
        """What the client sent: none at its end, None if there is nothing now."""
        try:
            return os.read(self.source, size)
        except BlockingIOError:
            return None
        except OSError:
            return b""


class Carrier:
    """One connection that carries another one, for as long as it lasts."""

    def __init__(self, sock: socket.socket, kept: Resumable, pipes: Pipes, received: bytes) -> None:
        """`received` is what came with the answer that opened it."""
        self._sock, self._kept, self._pipes = sock, kept, pipes
        self._sending = [memoryview(kept.attach())]
        self._buffer = memoryview(bytearray(_PIECE))
        self._until: float | None = None
        sock.setblocking(False)
        self._feed(memoryview(received))

    def run(self) -> str:
        """Returns why it broke; '' once the connection is over, or the client has left. Raises Unavailable."""
        poll = select.poll()
        while not self._is_done():
            wanted = self._wanted()
            for fd in (self._sock.fileno(), self._pipes.source, self._pipes.sink):
                if wanted.get(fd):
                    poll.register(fd, wanted[fd])
                else:
                    with suppress(KeyError):
                        poll.unregister(fd)
            timeout = None if self._until is None else max(0.0, self._until - time.monotonic()) * 1000
            ready = dict(poll.poll(timeout))
            if self._until is not None and time.monotonic() >= self._until:
                break
            if ready.get(self._pipes.sink):
                self._pipes.write()
            if ready.get(self._pipes.source):
                self._take()
            try:
                self._exchange(ready.get(self._sock.fileno(), 0))
            except OSError as error:
                return error.strerror or str(error)
        return ""

    def _is_done(self) -> bool:
        if self._pipes.ended and self._until is None:
            self._kept.take(b"")
            self._until = time.monotonic() + _END_SECONDS
        if self._kept.over is None or self._pipes.unwritten:
            return False
        self._fill()
        return not self._sending

    def _wanted(self) -> dict[int, int]:
        pipes, kept = self._pipes, self._kept
        self._fill()
        reads = select.POLLIN if kept.over is None else 0
        writes = select.POLLOUT if self._sending else 0
        return {
            self._sock.fileno(): reads | writes,
            pipes.source: select.POLLIN if kept.room and not pipes.ended else 0,
            pipes.sink: select.POLLOUT if pipes.unwritten else 0,
        }

    def _fill(self) -> None:
        self._kept.read(len(self._pipes.unwritten))
        if not self._sending and (frame := self._kept.to_send()) is not None:
            self._sending = [memoryview(part) for part in frame if part]

    def _take(self) -> None:
        data = self._pipes.read(min(self._kept.room, _PIECE))
        if data:
            self._kept.take(data)
        elif data is not None:
            self._pipes.ended = True

    def _exchange(self, events: int) -> None:
        """Raises OSError when the connection breaks."""
        if events & ~select.POLLOUT and self._kept.over is None:
            with suppress(BlockingIOError):
                size = self._sock.recv_into(self._buffer)
                if not size:
                    raise ConnectionResetError("it was closed")
                self._feed(self._buffer[:size])
        with suppress(BlockingIOError):
            while self._sending:
                self._sent(self._sock.sendmsg(self._sending))
                self._fill()

    def _feed(self, data: memoryview) -> None:
        for piece in self._kept.feed(data):
            self._pipes.write(piece)
            self._kept.read(len(self._pipes.unwritten))

    def _sent(self, size: int) -> None:
        while size and size >= len(self._sending[0]):
            size -= len(self._sending.pop(0))
        if size:
            self._sending[0] = self._sending[0][size:]
