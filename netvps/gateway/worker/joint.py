"""Joins two transports: data, EOF and back-pressure of one are passed on to the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from netvps.gateway.ports import Stream

LINGER: Final = 15.0
"""Seconds that the other direction may continue after one has ended: a closed socket looks like a half-closed one."""


def join(transport: asyncio.Transport, stream: Stream, *, half_closes: bool = True) -> tuple[Side, Side]:
    """Joins a transport, whose protocol is replaced, with a stream that was not started yet; returns both sides.

    Unless it `half_closes`, the end of one direction ends both.
    """
    near, far = Side(half_closes), Side(half_closes)
    near.other, far.other = far, near
    near.transport = transport
    transport.set_protocol(near)
    stream.start(far)  # connection_made sets its transport
    return near, far


def join_streams(one: Stream, other: Stream) -> None:
    """Joins two streams that were not started yet."""
    near, far = Side(), Side()
    near.other, far.other = far, near
    one.start(near)
    other.start(far)


class Side(asyncio.Protocol):
    """Passes the events of one transport on to the other."""

    def __init__(self, half_closes: bool = True) -> None:
        self._half_closes = half_closes
        self.passed = 0
        """Bytes passed on."""
        self.closed = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores its own transport."""
        self.transport = transport  # type: ignore[assignment] # a Transport, which uvloop's do not inherit

    def data_received(self, data: bytes) -> None:
        """Passes data on."""
        self.passed += len(data)
        if self._to is not None:
            self._to.write(data)

    def eof_received(self) -> bool:
        """Passes EOF on; the other direction stays open for a while."""
        if not self._half_closes:
            return False
        if self._to is not None:
            self._to.write_eof()
            self._linger = asyncio.get_running_loop().call_later(LINGER, self._to.abort)
        return True

    def pause_writing(self) -> None:
        """Pauses reading on the other side, because this transport's buffer is full."""
        if self._to is not None and not self._to.is_closing():
            self._to.pause_reading()

    def resume_writing(self) -> None:
        """Resumes reading on the other side."""
        if self._to is not None and not self._to.is_closing():
            self._to.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closes the other side after its buffered data, or aborts it if this side broke."""
        self.closed.set()
        if self._linger is not None:
            self._linger.cancel()
        if self._to is not None and exc is not None:
            self._to.abort()
        elif self._to is not None:
            self._to.close()

    @property
    def _to(self) -> asyncio.Transport | None:
        return self.other.transport if self.other is not None else None
