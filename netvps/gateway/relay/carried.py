"""Two connections whose bytes the relay passes on as they are, seen from the gateway."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from netvps.errors import InternalError
from netvps.gateway.relay import wire
from netvps.gateway.relay.wire import Kind

if TYPE_CHECKING:
    from netvps.gateway.relay.wire import Message


class Carried(asyncio.Protocol):
    """The connection to the relay about them; it ends when they do."""

    def __init__(self) -> None:
        self.received = self.sent = 0
        """Bytes from the client and from the agent; known at the end."""
        self.closed = asyncio.Event()
        self._decoder = wire.Decoder()
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """Ends them. Idempotent."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()  # the relay answers with the counts

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport."""
        self._transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing

    def data_received(self, data: bytes) -> None:
        """Handles the counts."""
        self._decoder.feed(data)
        with suppress(InternalError):
            while (message := self._decoder.next()) is not None:
                self._take(message)

    def _take(self, message: Message) -> None:
        if message.kind is Kind.COUNTS:
            self.received, self.sent = wire.counts(message.body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Both are closed."""
        self.closed.set()
