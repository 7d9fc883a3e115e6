"""One connection into a session over the overlay: TCP to the agent's SSH server, on the session's own address."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, cast

from netvps.domain.tunnel import SSH_PORT
from netvps.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.services.gateway_place import Way

CONNECT_TIMEOUT = 5.0
"""Seconds until the agent's greeting must be here."""
_OPTIONS: Final = (
    # A machine that vanished is found out within a minute while nothing is sent, and within two while something is;
    # no sooner, for the same is done to a session that is paused and takes nothing.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000),
)


class OverlayStream(asyncio.Protocol):
    """Open once the other end has spoken, as SSH's does at once: what accepts and is silent is no way in.

    `start` it with a protocol, as a DialStream; from then on that has the TCP connection itself, with its pace.
    """

    way: Final = "overlay"

    def __init__(self, no_good: Callable[[], None]) -> None:
        """`no_good` is told if the login came to nothing."""
        self._no_good = no_good
        self._transport: asyncio.Transport | None = None
        self._said = bytearray()
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, protocol: asyncio.Protocol) -> None:
        """Joins the connection with its protocol, once. Raises OSError if it broke."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection broke")
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        transport.resume_reading()
        protocol.data_received(bytes(self._said))

    def is_closing(self) -> bool:
        """Whether it is closed, or lost."""
        return self._transport is None or self._transport.is_closing()

    def abort(self) -> None:
        """Ends at once. Twice is fine."""
        self.greeted.cancel()
        if self._transport is not None:
            self._transport.abort()

    def other_way(self) -> bool:
        """Its login came to nothing: the tunnel leads to nobody else."""
        self._no_good()
        return True

    # For the transport, until there is another protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted, which says little."""
        self._transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing
        for level, option, value in _OPTIONS:
            transport.get_extra_info("socket").setsockopt(level, option, value)

    def data_received(self, data: bytes) -> None:
        """The greeting; the rest stays in the kernel."""
        self._said += data
        if self._transport is not None:
            self._transport.pause_reading()
        if not self.greeted.done():
            self.greeted.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Before anybody had it."""
        if not self.greeted.done():
            self.greeted.set_exception(exc or ConnectionResetError("it closed the connection"))


async def connect(way: Way, no_good: Callable[[], None], port: int = SSH_PORT) -> OverlayStream:
    """Raises Unavailable; leaves nothing behind when it is cancelled."""
    stream = OverlayStream(no_good)
    done = False
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await asyncio.get_running_loop().create_connection(
                lambda: stream, way.address, port, local_addr=(way.source, 0)
            )
            await stream.greeted
        done = True
    except TimeoutError:
        raise Unavailable(f"nobody spoke at {way.address} within {CONNECT_TIMEOUT:.0f} s") from None
    except OSError as error:
        raise Unavailable(f"no connection to {way.address}: {error.strerror or error}") from error
    finally:
        if not done:
            stream.abort()
    return stream
