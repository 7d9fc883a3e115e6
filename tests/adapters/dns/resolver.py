"""A resolver on loopback that answers, is silent, or lies, as configured."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Behaviour = Callable[[dns.message.Message], list[bytes]]
"""The datagrams that a question gets."""


def answering(value: str = "192.0.2.7", *, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, count: int = 1) -> Behaviour:
    """Answers with `count` records, whatever they are asked for."""

    def answer(query: dns.message.Message) -> list[bytes]:
        return [reply(query, value, rcode=rcode, count=count).to_wire()]

    return answer


def reply(
    query: dns.message.Message, value: str, *, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, count: int = 1
) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(rcode)
    if rcode == dns.rcode.NOERROR and count == 1:
        response.answer = [dns.rrset.from_text(query.question[0].name, 60, "IN", "A", value)]
    elif rcode == dns.rcode.NOERROR:
        values = [f"198.51.{n // 250}.{n % 250}" for n in range(count)]
        response.answer = [dns.rrset.from_text(query.question[0].name, 60, "IN", "A", *values)]
    return response


def silent(_: dns.message.Message) -> list[bytes]:
    return []


def cut_short(query: dns.message.Message) -> list[bytes]:
    response = dns.message.make_response(query)
    response.flags |= dns.flags.TC
    return [response.to_wire()]


class Resolver:
    """UDP and TCP on one port. `over_tcp` None: nothing listens there."""

    def __init__(self, over_udp: Behaviour, over_tcp: Behaviour | None = None) -> None:
        self.over_udp = over_udp
        self.over_tcp = over_tcp
        self.asked: list[dns.message.Message] = []
        self.ports: list[int] = []
        self.tcp_asked = 0

    @asynccontextmanager
    async def running(self, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(self), local_addr=(address, port))
        port = transport.get_extra_info("sockname")[1]
        server = await asyncio.start_server(self._connected, address, port) if self.over_tcp else None
        try:
            yield port
        finally:
            transport.close()
            if server:
                server.close()
                await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.over_tcp
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        self.tcp_asked += 1
        for wire in self.over_tcp(dns.message.from_wire(await reader.readexactly(length))):
            writer.write(struct.pack("!H", len(wire)) + wire)
        writer.close()


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self._resolver.asked.append(query)
        self._resolver.ports.append(addr[1])
        for wire in self._resolver.over_udp(query):
            self._transport.sendto(wire, addr)
