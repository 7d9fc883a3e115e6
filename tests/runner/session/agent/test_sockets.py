"""Bytes go both ways, each direction ends by itself, and there is a limit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netvps.runner.session.agent.sockets import Relay
from netvps.runner.session.agent.upstream import Upstream


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """Answers only once the other side has ended: that needs half-close."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_megabyte_there_and_back_after_half_close(tmp_path: Path, echo: str) -> None:
    data = bytes(range(256)) * 4096
    async with Relay(tmp_path / "s", Upstream(echo)):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(data)
        writer.write_eof()
        assert await reader.read() == data
        writer.close()
        await writer.wait_closed()
    assert not (tmp_path / "s").exists()


async def test_a_control_plane_that_stays_away_ends_the_connection(tmp_path: Path) -> None:
    async with Relay(tmp_path / "s", Upstream("127.0.0.1:9", patience=0.1)):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_more_connections_than_the_limit_are_refused(tmp_path: Path, echo: str) -> None:
    async with Relay(tmp_path / "s", Upstream(echo), limit=1):
        _, first = await asyncio.open_unix_connection(tmp_path / "s")
        reader, second = await asyncio.open_unix_connection(tmp_path / "s")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        for writer in (first, second):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_socket_left_by_a_runner_before_is_replaced(tmp_path: Path, echo: str) -> None:
    (tmp_path / "s").write_text("")
    async with Relay(tmp_path / "s", Upstream(echo)):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
