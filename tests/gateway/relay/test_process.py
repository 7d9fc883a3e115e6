"""A process with a socket on its standard input is started again when it ends, and ends with its owner."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from netvps.gateway.relay.process import SocketProcess
from netvps.process.agent_program import agent_program
from tests.support.patience import PATIENCE


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_process_that_dies_is_started_again() -> None:
    events: list[str] = []

    def started(_socket: socket.socket) -> None:
        events.append("started")

    async def ended() -> None:
        events.append("ended")

    async with SocketProcess(agent_program(), "relay", without="nothing", started=started, ended=ended) as process:
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: process.pid not in {None, first} and process.socket is not None)
        second = process.pid
        assert second is not None
        assert events == ["started", "ended", "started"]
    assert events == ["started", "ended", "started", "ended"]
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


@pytest.mark.parametrize("program", [Path("/nonexistent"), Path("/bin/true"), None])
async def test_a_process_that_does_not_start_leaves_no_socket(program: Path | None) -> None:
    async with SocketProcess(program, "relay", without="nothing") as process:
        assert process.socket is None
