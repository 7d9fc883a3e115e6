"""Joins two transports: bytes, ends and back-pressure of one become those of the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from netvps.gateway.ports import Stream

LINGER: Final = 15.0
"""Seconds that the other direction has after one has ended: a socket that was closed looks like one half closed."""


def join(transport: asyncio.Transport, stream: Stream) -> None:
    """Joins a transport, whose protocol this replaces, with a stream that was not started."""
    near, far = _Side(), _Side()
    near.other, far.other = far, near
    near.transport = transport
    transport.set_protocol(near)
    stream.start(far)  # as soon as it has a transport


class _Side(asyncio.Protocol):
    """The events of one transport, passed on to the other's."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Its own transport is there."""
        self.transport = transport  # type: ignore[assignment] # a Transport, which uvloop's do not inherit

    def data_received(self, data: bytes) -> None:
        """Passes bytes on."""
        if self._to is not None:
            self._to.write(data)

    def eof_received(self) -> bool:
        """Passes the end of this direction on; the other one stays open for a while."""
        if self._to is not None:
            self._to.write_eof()
            self._linger = asyncio.get_running_loop().call_later(LINGER, self._to.abort)
        return True

    def pause_writing(self) -> None:
        """This transport has enough: the other is not read."""
        if self._to is not None and not self._to.is_closing():
            self._to.pause_reading()

    def resume_writing(self) -> None:
        """It takes more."""
        if self._to is not None and not self._to.is_closing():
            self._to.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the other, after what it was given, or at once if this one broke."""
        if self._linger is not None:
            self._linger.cancel()
        if self._to is not None and exc is not None:
            self._to.abort()
        elif self._to is not None:
            self._to.close()

    @property
    def _to(self) -> asyncio.Transport | None:
        return self.other.transport if self.other is not None else None
