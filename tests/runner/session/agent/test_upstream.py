"""Connections wait for a port that is away, with one attempt at a time, and get through when it is back."""

from __future__ import annotations

import asyncio
import socket

import pytest

from netvps.runner.session.agent.upstream import Upstream


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number: int = taken.getsockname()[1]
    return number


async def test_connections_that_wait_get_through_once_the_port_is_back(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, most, open_now = 0, 0, 0
    opener = asyncio.open_connection

    async def counted(*arguments: object, **options: object) -> object:
        nonlocal attempts, most, open_now
        attempts, open_now = attempts + 1, open_now + 1
        most = max(most, open_now)
        try:
            return await opener(*arguments, **options)  # type: ignore[arg-type]
        finally:
            open_now -= 1

    monkeypatch.setattr(asyncio, "open_connection", counted)
    upstream = Upstream(f"127.0.0.1:{port}")
    waiting = [asyncio.create_task(upstream.connect())]
    while attempts < 4:  # it has failed, and tries again
        await asyncio.sleep(0.01)
    most = 0
    waiting += [asyncio.create_task(upstream.connect()) for _ in range(20)]
    while attempts < 6:
        await asyncio.sleep(0.01)

    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port):
        for _, writer in await asyncio.gather(*waiting):
            writer.close()
    assert most == 1
    assert attempts < 6 + len(waiting) + 3


async def test_a_port_that_is_there_is_reached_at_once_beside_those_that_wait(port: int) -> None:
    upstream = Upstream(f"127.0.0.1:{port}", patience=5)
    waiting = [asyncio.create_task(upstream.connect())]
    await asyncio.sleep(0.05)  # it has failed once
    waiting += [asyncio.create_task(upstream.connect()) for _ in range(100)]
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port):
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        streams = [await upstream.connect()]
        assert not all(task.done() for task in waiting)
        streams += await asyncio.gather(*waiting)
        for _, writer in streams:
            writer.close()


async def test_a_port_that_stays_away_is_a_timeout(port: int) -> None:
    with pytest.raises(TimeoutError):
        await Upstream(f"127.0.0.1:{port}", patience=0.05).connect()


async def test_cancelling_one_that_waits_lets_the_next_try(port: int) -> None:
    upstream = Upstream(f"127.0.0.1:{port}", patience=5)
    first, second = asyncio.create_task(upstream.connect()), asyncio.create_task(upstream.connect())
    await asyncio.sleep(0.05)
    first.cancel()
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port):
        _, writer = await second
        writer.close()
    with pytest.raises(asyncio.CancelledError):
        await first
