"""Clients that never read: the memory of the programs stays bounded, others are served, and who reads again goes on.

Each is a real client that is stopped (SIGSTOP) in the middle: its kernel takes what fits, and then no more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from netvps.domain.session.session import DesiredState
from netvps.domain.session.spec import SessionSpec
from tests.e2e.faults.faulty_system import FaultySystem
from tests.e2e.faults.own_engine import Engine, shared_engine
from tests.e2e.system import NETVPS, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
GROWS_BY = 64
"""MiB that a program may take more than before, with one client that does not read."""
MUCH = 1 << 30
"""Bytes that wait to be read, far more than anybody may keep."""
CHANGES = 60
STOPPED = DesiredState.STOPPED
System = FaultySystem[Engine]
Ended = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    made = FaultySystem(shared_engine())
    try:
        made.up()
        made.register_key()
        yield made
    finally:
        made.destroy()


@pytest.fixture(scope="module")
def session(system: System, busybox: str) -> str:
    name = unique("s")
    system.netvps("create", name, "--image", busybox)
    return name


def test_a_system_that_runs_is_well(system: System) -> None:
    """On its own ports, which `netvps doctor` finds out."""
    verdicts = system.doctor()
    for about_the_machine in ("disk", "clock"):
        del verdicts[about_the_machine]
    assert set(verdicts.values()) == {"ok"}, verdicts
    assert {f"port {port}" for port in system.ports.values()} < verdicts.keys()
    assert {"server", "certificates", "engine", "database", "agent", "ssh"} < verdicts.keys()


def test_ssh_that_stops_reading_a_big_output(system: System, session: str) -> None:
    command = ["ssh", *system.ssh_options(session), "127.0.0.1", f"head -c {MUCH} /dev/zero"]
    with _stopped(system, command, _megabyte) as ssh:
        assert ssh.stdout is not None
        assert system.ssh(session, "echo served").stdout == b"served\n"
        os.kill(ssh.pid, signal.SIGCONT)
        assert len(ssh.stdout.read(32 << 20)) == 32 << 20  # it goes on where it was


def test_a_program_that_never_reads_what_ssh_sends_it(system: System, session: str) -> None:
    """Here the tunnel is full, and not the client."""
    with (
        Path("/dev/zero").open("rb") as zeros,
        _bounded(system),
        _ending(["ssh", *system.ssh_options(session), "127.0.0.1", "echo begun; sleep 600"], zeros) as ssh,
    ):
        assert ssh.stdout is not None
        assert ssh.stdout.readline() == b"begun\n"
        _let_grow()
        assert system.ssh(session, "echo served").stdout == b"served\n"


def test_logs_without_a_reader(system: System, session: str) -> None:
    """The container writes on, and its log is rotated under the reader."""
    writer = ["ssh", *system.ssh_options(session), "127.0.0.1", "yes $(seq 200) > /proc/1/fd/1"]
    with (
        _ending(writer),
        _stopped(system, [*NETVPS, "logs", "--follow", session], _megabyte) as logs,
    ):
        assert logs.stdout is not None
        assert system.netvps("logs", session).stdout != b""
        assert system.ssh(session, "echo served").stdout == b"served\n"
        os.kill(logs.pid, signal.SIGCONT)
        assert len(logs.stdout.read(2 << 20)) == 2 << 20


def test_a_watcher_that_never_reads(system: System) -> None:
    """Its session is too large for any runner, so that each stop and start is done at once; each change is 240 KB."""
    name = unique("w")
    labels = {f"l{number}": "x" * 255 for number in range(32)}
    spec = SessionSpec(
        image="busybox", cpus=1024, env={f"A{number}": "x" * 32_000 for number in range(8)}, labels=labels
    )
    with system.client() as client:
        client.create_session(name, spec)
        with _stopped(system, [*NETVPS, "watch", "--output", "jsonl"], _line) as watch:
            assert watch.stdout is not None
            latest = client.stop_session(name)
            for _ in range(CHANGES):
                latest = client.start_session(name) if latest.desired is STOPPED else client.stop_session(name)
            assert client.get_session(name).revision == latest.revision
            os.kill(watch.pid, signal.SIGCONT)
            seen = 0
            while seen < latest.revision:  # sent one by one, or as the list again, but sent
                seen = int(json.loads(watch.stdout.readline()).get("revision", 0))
        client.delete_session(name)


@contextmanager
def _stopped(system: System, command: list[str], begin: Callable[[IO[bytes]], object]) -> Iterator[Ended]:
    """Runs a client, has it begin to read, and stops it; the programs stay within their bound for the block."""
    with _bounded(system), _ending(command, environment=system.full_environment()) as client:
        assert client.stdout is not None
        begin(client.stdout)
        os.kill(client.pid, signal.SIGSTOP)
        _let_grow()
        yield client


@contextmanager
def _ending(
    command: list[str], stdin: IO[bytes] | int = subprocess.DEVNULL, environment: dict[str, str] | None = None
) -> Iterator[Ended]:
    with subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, env=environment) as client:
        try:
            yield client
        finally:
            client.kill()


@contextmanager
def _bounded(system: System) -> Iterator[None]:
    before = _memory(system)
    yield
    grown = {name: now - before[name] for name, now in _memory(system).items()}
    assert max(grown.values()) < GROWS_BY, grown


def _let_grow() -> None:
    """Some seconds, in which what is without a bound takes far more: there is nothing to wait for."""
    time.sleep(4)


def _megabyte(output: IO[bytes]) -> None:
    output.read(1 << 20)


def _line(output: IO[bytes]) -> None:
    output.readline()


def _memory(system: System) -> dict[str, int]:
    """MiB that each program has in use."""
    return {name: _status(pid, "VmRSS") // 1024 for name, pid in system.pids().items()}


def _status(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))
