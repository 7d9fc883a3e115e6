"""Connections over the overlay, to servers on loopback that greet, are silent, refuse, reset, or pour."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import uvloop

from netvps.errors import Unavailable
from netvps.gateway.tunnel import overlay_stream
from netvps.gateway.tunnel.overlay_stream import OverlayStream, connect
from netvps.services.network.gateway_location import Route
from tests.gateway.conftest import free_port
from tests.support.patience import PATIENCE

HERE = Route("127.0.0.1", "127.0.0.1")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """`came` counts who came, `here` holds those whose end it did not see yet."""

    port: int = 0
    came: int = 0
    here: set[tuple[str, int]] = field(default_factory=set)
    gone: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def all_gone(self) -> None:
        """Waits for it; by one more, as those before it have been accepted then."""
        came = self.came
        async with asyncio.timeout(PATIENCE):
            _, last = await asyncio.open_connection("127.0.0.1", self.port)
            last.transport.abort()
            async with self.gone:
                await self.gone.wait_for(lambda: self.came > came and not self.here)
        self.came -= 1


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[Server]:
    """At the end of the block, everybody has to have gone."""
    made = Server()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.came += 1
        made.here.add(peer := writer.get_extra_info("peername"))
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)
            while await reader.read(1 << 16):
                pass
        if not writer.is_closing():
            writer.transport.abort()
        async with made.gone:
            made.here.discard(peer)
            made.gone.notify_all()

    async with await asyncio.start_server(accepted, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made
        await made.all_gone()


async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accepts, and that is all."""


async def greeting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-it\r\n")


async def pouring(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A greeting with megabytes behind it, then what it was sent, to the end of that."""
    writer.write(b"SSH-2.0-it\r\n" + bytes(4 << 20))
    writer.write(await reader.read())
    writer.close()
    await writer.wait_closed()


async def resetting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def closing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def good() -> None:
    raise AssertionError("this login was said to have come to nothing")


async def joined(stream: OverlayStream) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    stream.start(protocol)
    transport = protocol._transport  # type: ignore[attr-defined] # what the stream gave it
    return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())


async def _all_of_it() -> None:
    async with serving(pouring) as server:
        stream = await connect(HERE, good, server.port)
        reader, writer = await joined(stream)
        assert await reader.readline() == b"SSH-2.0-it\r\n"
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == bytes(4 << 20) + b"hello"
        stream.abort()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_nothing_is_lost_before_its_start_nor_after_half_a_close(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_all_of_it())


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (silent, "no answer from 127.0.0.1"),
        (resetting, "Connection reset by peer"),
        (closing, "it closed the connection"),
    ],
)
async def test_what_is_no_way_in(serve: Serve, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay_stream, "CONNECT_TIMEOUT", 0.2 if serve is silent else 10.0)
    async with serving(serve) as server:
        with pytest.raises(Unavailable, match=why):
            await connect(HERE, good, server.port)


async def test_no_peer_and_no_own_address() -> None:
    with pytest.raises(Unavailable, match=r"no connection to 127\.0\.0\.1"):
        await connect(HERE, good, free_port())
    async with serving(greeting) as server:
        with pytest.raises(Unavailable, match=r"no connection to 127\.0\.0\.1"):
            await connect(Route("192.0.2.200", "127.0.0.1"), good, server.port)
        assert server.came == 0


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-netvps epoch=7\r\n", b"SSH-2.0-netvps\r\n", b"SSH-2.0-dropbear epoch=6\r\n"]
)
async def test_the_container_of_the_epoch_answers_or_one_that_names_none(said: bytes) -> None:
    async def in_pieces(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in said:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)

    async with serving(in_pieces) as server:
        stream = await connect(HERE._replace(epoch=7), good, server.port)
        reader, _ = await joined(stream)
        assert await reader.readline() == said
        stream.abort()


async def test_the_container_that_a_session_was_moved_away_from_is_refused() -> None:
    async def old(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-netvps epoch=6\r\n")

    async with serving(old) as server:
        with pytest.raises(Unavailable, match="container of epoch 6, not of 7"):
            await connect(HERE._replace(epoch=7), good, server.port)


async def test_what_is_cancelled_at_whichever_step_is_closed() -> None:
    async with serving(greeting) as server:
        for steps in range(30):
            task = asyncio.create_task(connect(HERE, good, server.port))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await task).abort()


async def test_a_stream_that_broke_before_its_start_says_so() -> None:
    async with serving(greeting) as server:
        stream = await connect(HERE, good, server.port)
        stream.abort()
        stream.abort()
        assert stream.is_closing()
        with pytest.raises(ConnectionResetError):
            stream.start(asyncio.Protocol())


async def test_a_login_that_came_to_nothing_is_reported() -> None:
    reported: list[str] = []
    async with serving(greeting) as server:
        stream = await connect(HERE, lambda: reported.append("no good"), server.port)
        assert stream.other_way()
        assert reported == ["no good"]
        stream.abort()
