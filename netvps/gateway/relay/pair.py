"""A pair of connections that the relay serves, seen from the gateway: two transports for asyncssh, and their events.

asyncssh still runs key exchanges and disconnects: it gets the payloads of messages below 80 in plain packets, and what
it sends are plain packets, which the relay encrypts.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import structlog

from netvps.errors import InternalError
from netvps.gateway.relay import wire
from netvps.gateway.relay.keys import payload_of
from netvps.gateway.relay.wire import Cause, Kind

if TYPE_CHECKING:
    from netvps.gateway.relay.keys import Keys

log = structlog.get_logger()

RELAY_ENDED: Final = "the gateway's relay ended: connect again"
_UNSENT: Final = 4 << 20
"""Maximum bytes that wait to be sent to the relay; beyond it, the pair is given up."""


class RelayedEnd(Protocol):
    """One side of a pair: a connection of asyncssh (PipeEnd)."""

    passed: int
    """Bytes of messages received here for the other side."""

    def relayed(self, sequence: int, payload: bytes) -> None:
        """Called with a message that the relay does not pass on."""

    def keys_due(self) -> None:
        """Called when a key exchange should be started."""

    def violated(self, cause: Cause, text: str) -> None:
        """Called when the peer broke the protocol."""

    def eof_received(self) -> None:
        """Called when the peer closed the connection."""

    def connection_lost(self, exc: Exception | None = None) -> None:
        """Called when the connection broke."""


class RelayTransport(asyncio.Transport):
    """The transport of one side; each write is one plain packet."""

    def __init__(self, pair: RelayedPair, side: int, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self._pair = pair
        self._side = side
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Sends a packet."""
        self._pair.send(Kind.PACKET, self._side, payload_of(bytes(data)))

    def can_write_eof(self) -> bool:
        """Always."""
        return True

    def write_eof(self) -> None:
        """Half-closes the connection once everything is sent; further input is dropped."""
        self._pair.send(Kind.END, self._side)

    def receive_with(self, keys: Keys) -> None:
        """The relay uses these keys after the NEWKEYS that it received."""
        self._pair.send(Kind.RECV_KEYS, self._side, json.dumps(keys).encode())

    def send_with(self, keys: Keys) -> None:
        """The relay uses these keys after the NEWKEYS that was written."""
        self._pair.send(Kind.SEND_KEYS, self._side, json.dumps(keys).encode())

    def pause_reading(self) -> None:
        """Pauses messages of the relay, for both sides."""
        self._pair.hold(self._side)

    def resume_reading(self) -> None:
        """Resumes messages of the relay."""
        self._pair.release(self._side)

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent to the relay."""
        return self._pair.unsent

    def close(self) -> None:
        """Closes the connection."""
        self.abort()

    def abort(self) -> None:
        """Closes the connection; what was written gets half a second to be sent."""
        if not self._closing:
            self._closing = True
            self._pair.closed(self._side)


class RelayedPair(asyncio.Protocol):
    """The connection to the relay about one pair."""

    def __init__(self, ends: tuple[RelayedEnd, RelayedEnd]) -> None:
        self._ends = ends
        self._decoder = wire.Decoder()
        self._transport: asyncio.Transport | None = None
        self._holding: set[int] = set()
        self._closed: set[int] = set()
        self._over = False

    def send(self, kind: Kind, side: int, body: bytes = b"") -> None:
        """Sends a message to the relay."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(wire.encode(kind, side, body))
        if self.unsent > _UNSENT:
            log.error("the relay does not read: ending a connection")
            self._transport.abort()

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent to the relay."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def hold(self, side: int) -> None:
        """Pauses messages."""
        self._holding.add(side)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def release(self, side: int) -> None:
        """Resumes messages, once no side pauses them."""
        self._holding.discard(side)
        if not self._holding:
            asyncio.get_running_loop().call_soon(self._resume)

    def closed(self, side: int) -> None:
        """Closes a side; the relay is done with the pair when both are closed."""
        self.release(side)
        self._closed.add(side)
        self.send(Kind.ABORT, side)
        if len(self._closed) == len(self._ends) and self._transport is not None:
            self._transport.close()

    def give_up(self) -> None:
        """Ends the connection to the relay, which was not used."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport."""
        self._transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing

    def data_received(self, data: bytes) -> None:
        """Handles messages."""
        self._decoder.feed(data)
        self._handle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends what is still open of the pair: its sockets went with the relay."""
        if self._over:
            return
        self._over = True
        for side, end in enumerate(self._ends):
            if side not in self._closed:
                end.connection_lost(ConnectionResetError(RELAY_ENDED))

    def _resume(self) -> None:
        self._handle()
        if not self._holding and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _handle(self) -> None:
        try:
            while not self._holding and (message := self._decoder.next()) is not None:
                self._take(message)
        except InternalError:
            log.exception("the relay sent nonsense: ending a connection")
            if self._transport is not None:
                self._transport.abort()

    def _take(self, message: wire.Message) -> None:
        kind, side, body = message
        if kind is Kind.COUNTS:
            self._ends[0].passed, self._ends[1].passed = wire.counts(body)
            return
        if side in self._closed:
            return
        end = self._ends[side]
        match kind:
            case Kind.PACKET:
                end.relayed(int.from_bytes(body[:4], "big"), body[4:])
            case Kind.DUE:
                end.keys_due()
            case Kind.LOST:
                _lose(end, wire.cause(body), body[1:].decode(errors="replace"))
            case _:
                raise InternalError(f"a message {kind.name} from the relay")


def _lose(end: RelayedEnd, cause: Cause, text: str) -> None:
    match cause:
        case Cause.END_OF_FILE:
            end.eof_received()
        case Cause.CONNECTION:
            end.connection_lost(ConnectionError(text))
        case Cause.PROTOCOL | Cause.MAC:
            end.violated(cause, text)
