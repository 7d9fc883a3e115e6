"""A connection into a session on a socket of this process, until the SSH connection on it begins."""

from __future__ import annotations

import asyncio
from typing import cast


class SocketStream(asyncio.Protocol):
    """Keeps the first bytes. `start` it with a protocol, which then has the transport itself, with its pace."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._said = b""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the other end has said what must come first; it fails when the connection does before."""

    def start(self, protocol: asyncio.Protocol) -> None:
        """Joins the connection with its protocol, once. Raises OSError if it broke."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection broke")
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        transport.resume_reading()
        if self._said:
            protocol.data_received(self._said)

    def is_closing(self) -> bool:
        """Whether it is closed, or lost."""
        return self._transport is None or self._transport.is_closing()

    def abort(self) -> None:
        """Ends at once. Twice is fine."""
        self.ready.cancel()
        if self._transport is not None:
            self._transport.abort()

    # For the transport, until there is another protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing

    def data_received(self, data: bytes) -> None:
        """The first bytes; the rest stays in the kernel."""
        self._said += data
        if self._transport is not None:
            self._transport.pause_reading()
        if not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Before it was started."""
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("it closed the connection"))
