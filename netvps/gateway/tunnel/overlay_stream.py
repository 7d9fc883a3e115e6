"""One connection into a session over the overlay: TCP to the agent's SSH server on the session's own address."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING, Final

from netvps.domain.tunnel import SSH_PORT
from netvps.errors import Unavailable
from netvps.gateway.worker.socket_stream import SocketStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.services.network.gateway_location import Route

CONNECT_TIMEOUT = 5.0
"""Seconds within which the agent's SSH greeting must arrive."""
_EPOCH: Final = re.compile(rb"SSH-2\.0-netvps epoch=([0-9]{1,18})\r?\n")
"""The greeting of an agent (tunnel/sshd/server.go); an older agent names no epoch."""
_MAX_GREETING: Final = 255
"""Bytes (RFC 4253, section 4.2)."""
_OPTIONS: Final = (
    # A machine that vanished is detected within a minute while idle, and within two minutes while sending. Not sooner,
    # because a paused session accepts no data either and must not be disconnected.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000),
)


class OverlayStream(SocketStream):
    """Ready once the SSH greeting has arrived: a middlebox may accept TCP connections and stay silent."""

    way: Final = "overlay"

    def __init__(self, no_good: Callable[[], None]) -> None:
        """`no_good` is called if the login fails."""
        super().__init__()
        self._no_good = no_good

    def other_way(self) -> bool:
        """Reports the failed login, so that the next dial uses the tunnel, which always leads to the right session."""
        self._no_good()
        return True

    @property
    def epoch(self) -> int | None:
        """Of the container that answered, if its greeting says it."""
        said = _EPOCH.match(self._said)
        return int(said[1]) if said else None

    def is_complete(self, said: bytes) -> bool:
        """Whether the greeting has arrived."""
        return b"\n" in said or len(said) > _MAX_GREETING

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sets TCP keepalive options. An accepted connection is not ready yet."""
        super().connection_made(transport)
        for level, option, value in _OPTIONS:
            transport.get_extra_info("socket").setsockopt(level, option, value)


async def connect(way: Route, no_good: Callable[[], None], port: int = SSH_PORT) -> OverlayStream:
    """Connects and waits for the greeting of the epoch. Raises Unavailable; leaves nothing open when it is cancelled.

    On a machine whose runner is gone, the container of a session that was moved away still runs, and has its address.
    """
    stream = OverlayStream(no_good)
    loop = asyncio.get_running_loop()
    connecting = loop.create_connection(lambda: stream, way.address, port, local_addr=(way.source, 0))
    try:
        await stream.connected(connecting, CONNECT_TIMEOUT)
    except TimeoutError:
        raise Unavailable(f"no answer from {way.address} within {CONNECT_TIMEOUT:.0f} s") from None
    except OSError as error:
        raise Unavailable(f"no connection to {way.address}: {error.strerror or error}") from error
    if way.epoch and stream.epoch not in {None, way.epoch}:
        stream.abort()
        raise Unavailable(f"{way.address} is the session's container of epoch {stream.epoch}, not of {way.epoch}")
    return stream
