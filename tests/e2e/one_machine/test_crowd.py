"""Fifty people at once on one runner: each gets a session that runs, and the runner is heard all the while."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from netvps.domain.runner.runner import RunnerState
from netvps.domain.session.lifecycle import settled
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.client.client import Client
from tests.e2e.kills.faulty import until

if TYPE_CHECKING:
    from pathlib import Path

    from netvps.domain.session.session import Session
    from tests.e2e.system import System

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

CROWD = 50


def test_fifty_creates_at_once_all_run(system: System, busybox: str) -> None:
    spec = SessionSpec(image=busybox, stop_grace=0)
    names = [f"crowd{number}" for number in range(CROWD)]
    socket = system.runtime / "api.sock"
    with _client(socket) as client:
        client.create_ssh_key(system.key().with_suffix(".pub").read_text())
    with ThreadPoolExecutor(CROWD) as pool:
        list(pool.map(lambda name: _create(socket, name, spec), names))
    with _client(socket) as client:
        seen: list[Session] = []

        def all_settled() -> bool:
            (runner,) = client.list_runners()
            assert runner.runner.state is RunnerState.ONLINE
            seen[:] = client.list_sessions("-")
            return len(seen) == CROWD and all(map(settled, seen))

        until(f"{CROWD} sessions are settled", all_settled, 300)
        assert {(session.state, session.message) for session in seen} == {(SessionState.RUNNING, "")}
        assert system.ssh(names[-1], "hostname").stdout == f"{names[-1]}\n".encode()


def _create(socket: Path, name: str, spec: SessionSpec) -> None:
    with _client(socket) as client:
        client.create_session(name, spec)


def _client(socket: Path) -> Client:
    return Client(Endpoint(f"unix:{socket}"))
