"""`netvps server` and `netvps runner` apart: joined by a token over TLS, two processes of one machine."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.system import NETVPS, Account, System, docker, new_system, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@contextmanager
def _running(person: Account, *arguments: str, said: str) -> Iterator[subprocess.Popen[str]]:
    """A program of netvps in the foreground, once it has said in its log that it is there."""
    with subprocess.Popen(
        [*NETVPS, *arguments],
        env=person.full_environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            seen = ""
            while said not in seen:
                line = process.stderr.readline()
                assert line, f"{arguments} ended: {seen}"
                seen += line
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture(scope="module")
def server() -> Iterator[System]:
    """A control plane without a runner."""
    made = new_system()
    ports = [word for name, port in made.ports.items() for word in (f"--{name}-port", str(port))]
    try:
        with _running(made, "server", *ports, "--drain", "1", said="control plane serves"):
            yield made
    finally:
        made.destroy()


@pytest.fixture
def machine() -> Iterator[System]:
    """Another machine, as far as netvps can tell: folders of its own."""
    made = new_system()
    yield made
    made.destroy()


def _flags(server: System, token: Path, name: str) -> list[str]:
    return ["runner", "--server", f"127.0.0.1:{server.ports['api']}", "--join-token-file", str(token), "--name", name]


def _token(server: System, folder: Path) -> Path:
    file = folder / "token"
    file.write_bytes(server.netvps("runner", "join-token").stdout)
    return file


def test_a_machine_joins_and_runs_sessions(server: System, machine: System, busybox: str, tmp_path: Path) -> None:
    token = _token(server, tmp_path)
    with _running(machine, *_flags(server, token, "box1"), said='"connected"'):
        assert b"box1" in server.netvps("runner", "ls").stdout
        server.netvps("create", "apart", "--image", busybox)
        assert server.ssh("apart", "hostname").stdout == b"apart\n"
        again = machine.netvps(*_flags(server, token, "box1"), check=False)
        assert again.returncode == 10
        assert b"already runs" in again.stderr
    # It has its identity now, and needs no token.
    with _running(machine, "runner", said='"connected"'):
        assert server.ssh("apart", "hostname").stdout == b"apart\n"
        server.netvps("rm", "--yes", "apart")
    assert docker("ps", "-aq", "--filter", f"label=netvps.node={machine.runner_uid()}") == ""


def test_a_token_works_once_and_a_wrong_one_never(server: System, machine: System, tmp_path: Path) -> None:
    token = _token(server, tmp_path)
    with _running(machine, *_flags(server, token, "box2"), said='"connected"'):
        pass
    for text in (token.read_text(), "nvj_AAAA_nonsense_00", "nonsense"):
        other = new_system()
        try:
            token.write_text(text)
            refused = other.netvps(*_flags(server, token, "box3"), check=False)
            assert refused.returncode == 4, refused.stderr
            assert refused.stderr.splitlines()[-1].startswith(b"netvps runner: ")
            assert text.strip().encode() not in refused.stderr
        finally:
            other.destroy()


def test_two_runners_with_one_identity_are_distinguished(server: System, machine: System, tmp_path: Path) -> None:
    import shutil

    clone = new_system()
    try:
        with _running(machine, *_flags(server, _token(server, tmp_path), unique("box")), said='"connected"'):
            shutil.copytree(machine.state, clone.state)
            with _running(clone, "runner", said="connected from another process"):
                pass
    finally:
        clone.destroy()


def test_a_runner_without_a_token_says_how_to_get_one(machine: System) -> None:
    refused = machine.netvps("runner", check=False)
    assert refused.returncode == 10
    assert b"join-token" in refused.stderr


def test_no_docker_is_one_line(machine: System) -> None:
    refused = machine.netvps("runner", "--docker-host", "unix:///nonexistent/docker.sock", check=False)
    assert refused.returncode in {7, 10}
    (line,) = refused.stderr.decode().splitlines()
    assert "Docker" in line
    assert "/nonexistent/docker.sock" in line
