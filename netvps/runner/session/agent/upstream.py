"""Connects agents to the control plane's tunnel port; while that is away, all of them wait for one probe.

An agent that cannot connect waits longer each time, up to 10 s, and cannot see when the port is back. The runner can:
it holds the agents' connections, tries once for all of them, and lets them through one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

_CONNECT_SECONDS: Final = 10.0
"""Not longer than agents wait for a connection."""
_PROBE_SECONDS: Final = 0.2
_PER_SECOND: Final = 400
"""Connections let through per second after the port was away: each costs the control plane a TLS handshake."""
_KEEPALIVE: Final = (
    # Agents' data connections have no pings of their own. A server that vanished is detected within a minute.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
log = structlog.get_logger()


class Upstream:
    """The tunnel port at `address` (HOST:PORT), shared by all sessions of a runner."""

    def __init__(self, address: str, *, patience: float = _CONNECT_SECONDS) -> None:
        self.address = address
        self._patience = patience
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]") or "localhost", int(port)
        self._turn = asyncio.Lock()
        self._away = False

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        """Opens a connection; waits up to `patience` seconds while the port is away. Raises OSError or TimeoutError."""
        async with asyncio.timeout(self._patience):
            if not self._away:
                with contextlib.suppress(OSError):
                    return await self._open()
            return await self._connect_in_turn()

    async def _connect_in_turn(self) -> tuple[StreamReader, StreamWriter]:
        while True:
            async with self._turn:  # one attempt at a time, however many wait
                await asyncio.sleep(1 / _PER_SECOND)
                try:
                    return await self._open()
                except OSError as error:
                    log.debug("the control plane's tunnel port is away", address=self.address, error=str(error))
                    await asyncio.sleep(_PROBE_SECONDS * random.uniform(0.5, 1))  # noqa: S311 — no secret

    async def _open(self) -> tuple[StreamReader, StreamWriter]:
        try:
            streams = await asyncio.open_connection(self._host, self._port)
            for level, option, value in _KEEPALIVE:
                streams[1].get_extra_info("socket").setsockopt(level, option, value)
        except OSError:
            self._away = True
            raise
        self._away = False
        return streams
