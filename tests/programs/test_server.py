"""`netvps server` as a process: it serves, it ends in two stages, and its errors are one line each."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Self

import pytest

from netvps.config import Paths
from netvps.process.readiness import Outcome, await_outcome
from netvps.rpc.client.client import Client, Endpoint

pytestmark = pytest.mark.slow


class _Server:
    """A server in a process of its own; `outcome` is how its start went."""

    def __init__(self, arguments: list[str]) -> None:
        self._reading, writing = os.pipe()
        command = [sys.executable, "-m", "netvps.programs.server", "--ready-fd", str(writing), *arguments]
        self.process = subprocess.Popen(command, pass_fds=(writing,), stderr=subprocess.PIPE, text=True)
        os.close(writing)

    async def outcome(self) -> Outcome | None:
        return await await_outcome(self._reading)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())


async def test_it_serves_and_ends(arguments: list[str], server_flags: dict[str, str], state: Path) -> None:
    with _Server(arguments) as server:
        assert await server.outcome() == Outcome()
        folders = Paths(state, Path(server_flags["runtime_dir"]))
        with Client(Endpoint(f"unix:{folders.api_socket}")) as client:
            info = client.server_info()
            assert info.ssh_address == f":{server_flags['ssh_port']}"
            assert client.get_user("me").role == "ADMIN"
        assert await asyncio.to_thread(_get, f"http://127.0.0.1:{server_flags['http_port']}/readyz") == b"ready\n"
        code, said = server.end()
    assert code == 0, said
    assert not folders.api_socket.exists()
    for file in (state / "netvps.db", state / "ca/ca.key", state / "server.lock"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_cluster_stays_the_same_over_a_restart(arguments: list[str], server_flags: dict[str, str]) -> None:
    seen = []
    for _ in range(2):
        with _Server(arguments) as server:
            assert await server.outcome() == Outcome()
            with Client(Endpoint(f"unix:{server_flags['runtime_dir']}/api.sock")) as client:
                info = client.server_info()
                seen.append((info.cluster_id, info.ca_certificate, info.ssh_host_key))
            server.end(signal.SIGINT)
    assert seen[0] == seen[1]


async def test_a_second_one_on_the_same_state_is_refused(arguments: list[str]) -> None:
    with _Server(arguments) as first:
        assert await first.outcome() == Outcome()
        with _Server(arguments) as second:
            outcome = await second.outcome()
            assert outcome is not None
            assert outcome.code == 10
            assert f"process {first.process.pid}" in outcome.error


@pytest.mark.parametrize("port", ["api_port", "link_port", "ssh_port", "http_port"])
async def test_a_port_that_is_taken_is_reported(arguments: list[str], server_flags: dict[str, str], port: str) -> None:
    with socket.create_server(("127.0.0.1", int(server_flags[port]))), _Server(arguments) as server:
        outcome = await server.outcome()
        _, said = server.process.communicate(timeout=30)
    assert outcome is not None
    assert outcome.code == 10
    assert server_flags[port] in outcome.error
    assert said.splitlines()[-1] == f"netvps server: {outcome.error}"
    assert "Traceback" not in said


async def test_a_database_that_is_newer_is_reported_and_left_alone(arguments: list[str], state: Path) -> None:
    with _Server(arguments) as server:
        assert await server.outcome() == Outcome()
        server.end()
    with sqlite3.connect(state / "netvps.db") as database:
        database.execute("update alembic_version set version_num = '9999_future'")
    database.close()
    before = (state / "netvps.db").read_bytes()
    with _Server(arguments) as server:
        outcome = await server.outcome()
    assert outcome is not None
    assert outcome.code == 10
    assert "newer than this program" in outcome.error
    assert (state / "netvps.db").read_bytes() == before
