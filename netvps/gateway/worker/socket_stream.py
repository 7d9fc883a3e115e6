"""A connection into a session on a socket of this process, before the SSH connection on it starts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable


class SocketStream(asyncio.Protocol):
    """Buffers the first bytes. After `start`, the protocol has the socket's transport itself, with its flow control."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._said = b""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the first bytes are complete; fails if the connection is lost before."""

    def start(self, protocol: asyncio.Protocol) -> None:
        """Connects it to its protocol, once. Raises OSError if the connection is lost."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection broke")
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        transport.resume_reading()
        if self._said:
            protocol.data_received(self._said)

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Gives the transport away, paused, with what it received, instead of `start`. Raises OSError."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection broke")
        transport.pause_reading()
        said, self._said = self._said, b""
        return transport, said

    async def connected(self, connecting: Awaitable[object], seconds: float) -> Self:
        """Waits until it is connected and ready; leaves nothing open otherwise. Raises OSError, TimeoutError."""
        try:
            async with asyncio.timeout(seconds):
                await connecting
                await self.ready
        except BaseException:
            self.abort()
            raise
        return self

    def is_closing(self) -> bool:
        """Whether it is closed or lost."""
        return self._transport is None or self._transport.is_closing()

    def is_complete(self, said: bytes) -> bool:
        """Whether these first bytes are all that it waits for: any are."""
        return True

    def abort(self) -> None:
        """Ends it immediately. Idempotent."""
        self.ready.cancel()
        if self._transport is not None:
            self._transport.abort()

    # Callbacks of the transport, until `start` sets another protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport."""
        self._transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing

    def data_received(self, data: bytes) -> None:
        """Buffers the first bytes and pauses reading; the rest stays in the kernel."""
        self._said += data
        if not self.is_complete(self._said):
            return
        if self._transport is not None:
            self._transport.pause_reading()
        if not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails `ready` if the connection is lost before it was started."""
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("it closed the connection"))
