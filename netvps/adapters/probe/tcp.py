"""Tests TCP through the tunnel, and serves other runners' tests: implements runner.overlay.ports.TcpProbe.

ICMP echoes do not exercise checksum offload, as the kernel computes ICMP checksums itself. TCP's checksums and
segmentation are left to the network card, and some cards do both wrong inside a tunnel.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from netvps.domain.overlay.peer_health import TcpOutcome
from netvps.errors import Unavailable

_IP_AND_TCP: Final = 40
_BURST: Final = 64 * 1024
_BURSTS: Final = 4
_CONNECT_SECONDS, _PIECE_SECONDS = 4.0, 3.0
_CONNECTIONS: Final = 8
_MOST_BYTES: Final = 1 << 20
_MOST_SECONDS: Final = 30.0
Peers = Callable[[], Collection[str]]
"""Returns the tunnel addresses of the other runners."""


class TcpEcho:
    """Client and server. Call `serve` again for another address, and `close` at the end."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._place: tuple[str, int] | None = None
        self._open: set[asyncio.StreamWriter] = set()
        """Open connections of other runners."""

    async def serve(self, address: str, port: int, peers: Peers) -> None:
        """Echoes what `peers` send, up to a limit. Raises Unavailable if it cannot listen."""
        if self._place == (address, port):
            return
        await self.close()
        try:
            self._server = await asyncio.start_server(
                lambda reader, writer: self._answer(reader, writer, peers), address, port, start_serving=False
            )
            await self._server.start_serving()  # a separate call: if cancelled here, the server can be closed
        except OSError as error:
            raise Unavailable(
                f"the overlay's self-test cannot listen on {address}:{port}: {error.strerror}; the runner retries"
            ) from None
        self._place = (address, port)

    async def close(self) -> None:
        """Closes the server and its connections."""
        self._place = None
        if self._server:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            await _cut(writer)

    async def exchange(self, address: str, port: int, mtu: int) -> TcpOutcome:
        """Sends one byte, a full segment, and bursts, and compares what comes back."""
        try:
            async with _connected(address, port) as (reader, writer):
                for size in (1, mtu - _IP_AND_TCP, *[_BURST] * _BURSTS):
                    sent = os.urandom(size)
                    async with asyncio.timeout(_PIECE_SECONDS):
                        writer.write(sent)
                        back = await reader.readexactly(size)
                    if back != sent:
                        return TcpOutcome.BROKEN
        except ConnectionRefusedError:
            return TcpOutcome.ABSENT
        except _NotConnected:
            return TcpOutcome.SILENT
        except (OSError, asyncio.IncompleteReadError):
            return TcpOutcome.BROKEN
        return TcpOutcome.GOOD

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peers: Peers) -> None:
        known = len(self._open) < _CONNECTIONS and (writer.get_extra_info("peername") or ("",))[0] in peers()
        self._open.add(writer)
        try:
            if known:
                await _echo(reader, writer)
        except OSError:
            pass  # the peer disconnected
        finally:
            await _cut(writer)
            self._open.discard(writer)


class _NotConnected(Exception):
    """The peer does not answer at all."""


@asynccontextmanager
async def _connected(address: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        raise
    except OSError:
        raise _NotConnected from None
    try:
        yield reader, writer
    finally:
        await _cut(writer)


async def _cut(writer: asyncio.StreamWriter) -> None:
    """Aborts a connection and waits until it is closed."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    left = _MOST_BYTES
    async with asyncio.timeout(_MOST_SECONDS):
        while left > 0 and (piece := await reader.read(_BURST)):
            left -= len(piece)
            writer.write(piece)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
