"""Sends one question to one server: UDP from a random port, then TCP if the answer is truncated."""

from __future__ import annotations

import asyncio
import secrets
import struct
from contextlib import suppress

from netvps.adapters.dns.wire import answers, truncated

_LENGTH = struct.Struct("!H")
_ID_BYTES = 2


async def ask(server: str, port: int, question: bytes) -> bytes:
    """Returns the first reply that belongs to this question; ignores others.

    The id and the port are random, so only who sees the question can forge an answer. Raises OSError. Has no
    timeout: callers set one.
    """
    question = secrets.token_bytes(_ID_BYTES) + question[_ID_BYTES:]
    reply = await _over_udp(server, port, question)
    if not truncated(reply):
        return reply
    try:
        return await _over_tcp(server, port, question)
    except (OSError, EOFError):
        return reply  # the reply is marked as truncated


async def _over_udp(server: str, port: int, question: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    # Connected: the kernel drops packets from other addresses, and reports an unreachable server.
    transport, waiting = await loop.create_datagram_endpoint(lambda: _Waiting(question), remote_addr=(server, port))
    try:
        transport.sendto(question)
        return await waiting.reply
    finally:
        transport.abort()


class _Waiting(asyncio.DatagramProtocol):
    def __init__(self, question: bytes) -> None:
        self._question = question
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.reply.done() and answers(self._question, data):
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def _over_tcp(server: str, port: int, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, port)
    try:
        writer.write(_LENGTH.pack(len(question)) + question)
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        reply = await reader.readexactly(length)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    if not answers(question, reply):
        raise OSError(f"{server} sent a reply to another question")
    return reply
