from __future__ import annotations

import asyncio
import socket

import pytest

from netvps.gateway.http.monitoring import HttpGateway
from netvps.process.http_check import main


async def test_it_says_what_the_program_answers(capsys: pytest.CaptureFixture[str]) -> None:
    async with HttpGateway(host="127.0.0.1", port=0) as gateway:
        assert await asyncio.to_thread(main, [str(gateway.port)]) == 1
        assert capsys.readouterr().out == "not ready: starting\n"
    async with HttpGateway({}, host="127.0.0.1", port=0) as gateway:
        assert await asyncio.to_thread(main, [str(gateway.port)]) == 0
        assert capsys.readouterr().out == "ready\n"


def test_no_answer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert main([str(port)]) == 1
    assert capsys.readouterr().out.startswith(f"no answer at port {port}: ")
