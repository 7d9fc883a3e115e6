"""The sockets of the DNS server: UDP, and TCP for long answers.

They are bound to an address, not to an interface (IP_FREEBIND): they can be opened before the bridge exists and survive
its recreation.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from contextlib import suppress
from typing import cast

from netvps.adapters.dns.responder import Responder
from netvps.adapters.dns.shares import Shares
from netvps.adapters.dns.wire import Query
from netvps.errors import ConfigError, NetvpsError, Unavailable
from netvps.tasks import Tasks

_IP_FREEBIND = 15
_BACKLOG = 64
_CONNECTIONS, _CONNECTIONS_EACH = 128, 16
_IDLE_SECONDS = 10.0
_LENGTH = struct.Struct("!H")


class Listener:
    """The DNS sockets on one address; call `open`."""

    def __init__(self, responder: Responder, address: str, port: int) -> None:
        self.address = address
        self.port = port
        """0 for any port; known once open."""
        self._responder = responder
        self._tasks = Tasks()
        self._shares = Shares(total=_CONNECTIONS, each=_CONNECTIONS_EACH)
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Opens the sockets. Raises ConfigError if not permitted, Unavailable if the port is in use."""
        try:
            await self._open()
        except OSError as error:
            await self.close()
            raise _refused(error, self.address, self.port) from error

    async def close(self) -> None:
        """Closes the sockets and drops pending answers; idempotent."""
        if self._transport:
            self._transport.abort()
        if self._server:
            self._server.close()
        await self._tasks.cancel()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        udp = _bound(socket.SOCK_DGRAM, self.address, self.port)
        self.port = udp.getsockname()[1]
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._responder, self._tasks), sock=udp
        )
        tcp = _bound(socket.SOCK_STREAM, self.address, self.port)
        self._server = await asyncio.start_server(self._connected, sock=tcp, backlog=_BACKLOG)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asker = str(writer.get_extra_info("peername", ("0.0.0.0",))[0])  # noqa: S104 — it disconnected already
        if self._responder.serves(asker) and self._shares.acquire(asker):
            self._tasks.start(self._converse(reader, writer, asker), name=f"DNS over TCP for {asker}")
        else:
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asker: str) -> None:
        """Answers queries in order until the client disconnects, is silent, or asks something that gets no answer."""
        writer.transport.set_write_buffer_limits(0)  # `drain` returns only once everything is sent
        try:
            with suppress(OSError, EOFError, TimeoutError):
                while reply := await self._next_reply(reader, asker):
                    writer.write(_LENGTH.pack(len(reply)) + reply)
                    async with asyncio.timeout(_IDLE_SECONDS):
                        await writer.drain()
        finally:
            self._shares.release(asker)
            writer.transport.abort()

    async def _next_reply(self, reader: asyncio.StreamReader, asker: str) -> bytes | None:
        async with asyncio.timeout(_IDLE_SECONDS):
            (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            wire = await reader.readexactly(length)
        reply = self._responder.at_once(wire, asker, stream=True)
        return await self._responder.later(reply, asker) if isinstance(reply, Query) else reply


class _Datagrams(asyncio.DatagramProtocol):
    """Drops answers that cannot be sent now: clients ask again."""

    def __init__(self, responder: Responder, tasks: Tasks) -> None:
        self._responder = responder
        self._tasks = tasks
        self._transport: asyncio.DatagramTransport | None = None
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._responder.at_once(data, addr[0], stream=False)
        if isinstance(reply, Query):
            self._tasks.start(self._send_later(reply, addr), name=f"DNS for {addr[0]}")
        elif reply:
            self._send(reply, addr)

    async def _send_later(self, query: Query, addr: tuple[str, int]) -> None:
        if reply := await self._responder.later(query, addr[0]):
            self._send(reply, addr)

    def _send(self, reply: bytes, addr: tuple[str, int]) -> None:
        if self._transport and not self._full:
            self._transport.sendto(reply, addr)


def _bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        if kind is socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


def _refused(error: OSError, address: str, port: int) -> NetvpsError:
    where = f"the overlay's DNS server cannot listen on {address}:{port}"
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"{where}: another name server of this machine has that port on all addresses; make it listen on its own"
            f" addresses only (find it: ss -lnp 'sport = :{port}'; dnsmasq: bind-dynamic and except-interface)"
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return ConfigError(f"{where}: not permitted; run the runner as root or with CAP_NET_BIND_SERVICE")
    return Unavailable(f"{where}: {error.strerror}")
