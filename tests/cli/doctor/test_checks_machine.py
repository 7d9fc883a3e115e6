"""Checks of a machine, each also where it fails for real: no Docker, no room, a damaged database, a dead agent."""

from __future__ import annotations

import http.server
import json
import os
import platform
import socket
import socketserver
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self, cast

import pytest

from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.adapters.ca.opening import open_ca
from netvps.cli.doctor import checks_machine as machine
from netvps.domain.finding import Severity
from netvps.domain.runner.gpu import Gpu
from netvps.errors import ConfigError
from netvps.settings import ServerSettings, load

OK, WARN, FAIL = Severity.OK, Severity.WARN, Severity.FAIL


@contextmanager
def answering(listener: socket.socket, answer: bytes) -> Iterator[None]:
    """A server that accepts once, reads, and answers."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    thread.join(5)


@pytest.fixture
def docker_socket(tmp_path: Path) -> Path:
    return tmp_path / "docker.sock"


class Engine(socketserver.ThreadingUnixStreamServer):
    """Answers as Docker does about itself; `version` is that of its API, '' for rubbish and "500" for an error."""

    daemon_threads = True

    def __init__(self, path: Path, version: str) -> None:
        self.version = version
        super().__init__(str(path), _Answers)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        version = cast("Engine", self.server).version
        if not version:
            self.wfile.write(b"rubbish\r\n\r\n")
            return
        known = {"ApiVersion": version, "DockerRootDir": "/data/docker"}
        body = json.dumps(known if version != "500" else {"message": "oops"}).encode()
        self.send_response(200 if version != "500" else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("version", "severity"),
    [("1.41", OK), ("1.54", OK), ("1.39", FAIL), ("500", FAIL), ("", FAIL)],
)
def test_the_engine_is_asked(version: str, severity: Severity, docker_socket: Path) -> None:
    assert machine.engine(f"unix://{docker_socket}").severity is FAIL  # there is none yet
    with Engine(docker_socket, version):
        found = machine.engine(f"unix://{docker_socket}")
    assert found.severity is severity
    assert (found.remedy == "") == (severity is OK)


def test_an_engine_that_never_answers_is_given_up(docker_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(docker_socket))
        listener.listen()
        assert "did not answer in time" in machine.engine(f"unix://{docker_socket}").text
        assert machine.docker_root(f"unix://{docker_socket}") == Path("/var/lib/docker")


def test_docker_says_where_it_keeps_things(docker_socket: Path) -> None:
    with Engine(docker_socket, "1.41"):
        assert machine.docker_root(f"unix://{docker_socket}") == Path("/data/docker")


def _space(free: int, files: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 1 << 30, free // 4096, free // 4096, 1 << 20, files, files, 0, 255))


@pytest.mark.parametrize(
    ("free", "files", "verdict"),
    [(9 << 30, 1 << 19, OK), (3 << 30, 1 << 19, WARN), (9 << 20, 1 << 19, FAIL), (9 << 30, 7, FAIL)],
)
def test_room_for_bytes_and_for_files(
    free: int, files: int, verdict: Severity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: _space(free, files))
    (found,) = machine.disk(tmp_path / "not/there/yet", tmp_path)  # one file system, reported once
    assert (found.subject, found.severity) == ("disk", verdict)


def test_what_not_every_machine_has_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def gpus(found: tuple[Gpu, ...], problem: str) -> None:
        monkeypatch.setattr("netvps.adapters.nvml.read_gpus", lambda _library: (found, problem))

    gpus((), "there is no NVIDIA driver on this machine")
    assert machine.gpus().text == "none: there is no NVIDIA driver on this machine"
    monkeypatch.setattr("netvps.adapters.lxcfs.lxcfs_files", lambda: ())
    assert "apt-get install lxcfs" in machine.lxcfs().remedy
    found = [machine.gpus(), machine.lxcfs(), machine.disk_limits("unix:///nowhere.sock")]
    assert [one.severity for one in found] == [Severity.OK, Severity.OK, Severity.WARN]
    gpus((Gpu("GPU-1", "NVIDIA H200"),), "GPU 1 cannot be used")
    assert (machine.gpus().severity, machine.gpus().text) == (
        Severity.WARN,
        "GPU-1 (NVIDIA H200): GPU 1 cannot be used",
    )
    monkeypatch.setattr("netvps.adapters.lxcfs.lxcfs_files", lambda: (("/a", "/b"),))
    assert "mounted at /var/lib/lxcfs" in machine.lxcfs().text


def test_ports_are_served_or_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = load(ServerSettings, {"ssh_port": port, "listen": "0.0.0.0"})
        assert machine.ports(settings, serving=True)[0].severity is OK
        assert machine.ports(settings, serving=False)[0].severity is WARN
    assert machine.ports(settings, serving=True)[0].severity is FAIL
    assert machine.ports(settings, serving=False)[0].severity is OK


def test_settings_are_those_of_the_server_that_runs(tmp_path: Path) -> None:
    assert machine.settings_in_force(tmp_path).ssh_port == 2222
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "netvps.programs.server"]
    with subprocess.Popen(
        [*command, "--ssh-port", "4022", "--ready-fd", "7"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (tmp_path / "server.lock").write_text(f"{process.pid:<10}\n")
        assert machine.settings_in_force(tmp_path).ssh_port == 4022
        process.communicate()
    (tmp_path / "server.lock").write_text(f"{os.getpid()}\n")  # another process has its number now
    assert machine.settings_in_force(tmp_path).ssh_port == 2222


@contextmanager
def _runner(folder: Path, flags: list[str], environment: dict[str, str]) -> Iterator[None]:
    """A process that looks like the runner on a state folder; `{}` in its flags and variables is that folder."""
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "netvps.programs.runner"]
    given = {name: value.format(folder) for name, value in environment.items()}
    command += [word.format(folder) for word in flags]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"A": "1"} | given) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (folder / "runner").mkdir()
        (folder / "runner/lock").write_text(f"{process.pid:<10}\n")
        yield
        process.communicate()


@pytest.mark.parametrize(
    ("flags", "environment", "host"),
    [
        ([], {}, "unix:///var/run/docker.sock"),
        ([], {"DOCKER_HOST": "unix:///a"}, "unix:///a"),
        ([], {"DOCKER_HOST": "unix:///a", "NETVPS_DOCKER_HOST": "unix:///b"}, "unix:///b"),
        (["--docker-host", "unix:///c"], {"NETVPS_DOCKER_HOST": "unix:///b"}, "unix:///c"),
        (["--config", "{}/netvps.toml"], {"DOCKER_HOST": "unix:///a"}, "unix:///d"),
        ([], {"DOCKER_HOST": "unix:///a", "NETVPS_CONFIG": "{}/netvps.toml"}, "unix:///d"),
    ],
)
def test_docker_is_asked_where_the_runner_that_runs_asks_it(
    flags: list[str], environment: dict[str, str], host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netvps.toml").write_text('[runner]\ndocker_host = "unix:///d"\n')
    monkeypatch.setenv("DOCKER_HOST", "unix:///ours")
    with _runner(tmp_path, flags, environment):
        assert machine.docker_host(tmp_path) == host
    assert machine.docker_host(tmp_path) == "unix:///ours"  # it runs no more


@pytest.mark.parametrize(
    ("flags", "environment", "no_sessions"),
    [
        ([], {}, False),
        (["--no-sessions"], {}, True),
        (["--no-sessions", "--name", "x"], {}, True),
        (["--no-sessions", "false"], {"NETVPS_NO_SESSIONS": "true"}, False),
        (["--no-sessions=true"], {}, True),
        ([], {"NETVPS_NO_SESSIONS": "1"}, True),
        (["--config", "{}/netvps.toml"], {}, True),
        (["--config", "{}/netvps.toml"], {"NETVPS_NO_SESSIONS": "false"}, False),
    ],
)
def test_a_runner_that_runs_no_sessions_is_known_by_how_it_was_started(
    flags: list[str], environment: dict[str, str], no_sessions: bool, tmp_path: Path
) -> None:
    (tmp_path / "netvps.toml").write_text("[runner]\nno_sessions = true\n")
    assert not machine.runs_no_sessions(tmp_path)  # none runs yet
    with _runner(tmp_path, flags, environment):
        assert machine.runs_no_sessions(tmp_path) is no_sessions


def test_wrong_settings_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETVPS_SSH_PORT", "x")
    with pytest.raises(ConfigError):
        machine.settings_in_force(tmp_path)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n", OK),
        (b"HTTP/1.1 503 No\r\nContent-Length: 20\r\n\r\nnot ready: database\n", FAIL),
    ],
)
def test_a_server_that_runs_says_whether_it_reads_its_database(answer: bytes, verdict: Severity) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = load(ServerSettings, {"http_port": listener.getsockname()[1]})
        with answering(listener, answer):
            assert machine.database(settings, serving=True).severity is verdict
    assert machine.database(settings, serving=True).severity is WARN  # nothing listens there


async def test_a_database_at_rest_is_whole_or_damaged(tmp_path: Path) -> None:
    from netvps.adapters.store import open_store

    settings = load(ServerSettings, {"state_dir": str(tmp_path)})
    assert machine.database(settings, serving=False).severity is OK  # none yet
    async with open_store(settings.database, lambda: datetime.now(UTC)):
        pass
    assert "is whole" in machine.database(settings, serving=False).text
    file = tmp_path / "netvps.db"
    content = bytearray(file.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    file.write_bytes(content)
    assert machine.database(settings, serving=False).severity is FAIL
    file.write_bytes(b"rubbish" * 1000)
    found = machine.database(settings, serving=False)
    assert (found.severity, found.remedy[:44]) == (FAIL, "restore a backup: `netvps restore FILE --yes")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (sqlite3.SQLITE_FULL, "make room"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "make room"),
        (sqlite3.SQLITE_CANTOPEN, "the file itself may be whole"),
        (sqlite3.SQLITE_BUSY, "end the program"),
        (sqlite3.SQLITE_IOERR_READ, "kernel's log"),
    ],
)
def test_a_database_that_only_cannot_be_opened_is_not_to_be_replaced(
    code: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a folder of another account: a backup in its place would lose what is whole."""
    (tmp_path / "netvps.db").touch()
    error = sqlite3.OperationalError("no")
    error.sqlite_errorcode = code

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sqlite3, "connect", fail)
    found = machine.database(load(ServerSettings, {"state_dir": str(tmp_path)}), serving=False)
    assert found.severity is FAIL
    assert "restore" not in found.remedy
    assert remedy in found.remedy


def test_a_database_elsewhere_is_not_guessed_about() -> None:
    settings = load(ServerSettings, {"database_url": "postgresql://u:hush@h/d"})
    found = machine.database(settings, serving=False)
    assert found.severity is WARN
    assert "hush" not in str(found)


@pytest.mark.parametrize(("days", "verdict"), [(0, OK), (-80, WARN), (-100, FAIL), (100, FAIL)])
def test_the_certificate_of_the_runner(tmp_path: Path, days: int, verdict: Severity) -> None:
    assert machine.runner_certificate(tmp_path) == []  # no runner ever joined here
    ca = open_ca(tmp_path / "ca", "c1", lambda: datetime.now(UTC))
    made = datetime.now(UTC) + timedelta(days=days)
    certificate, _ = ca.sign_client(signing_request(new_key()), "netvps://runner/0123456789abc", made)
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner/identity").write_text(json.dumps({"certificate": certificate}))
    (found,) = machine.runner_certificate(tmp_path)
    assert (found.subject, found.severity) == ("certificates", verdict)


@pytest.mark.parametrize("content", ["", "{}", '{"certificate": "rubbish"}', "[]"])
def test_a_damaged_identity_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner/identity").write_text(content)
    (found,) = machine.runner_certificate(tmp_path)
    assert found.severity is FAIL


def test_an_agent_that_is_missing_or_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.agent().severity is OK
    assert "is missing" in machine.agent(tmp_path).text
    file = tmp_path / machine.agent().text.partition(",")[0]
    file.write_bytes(b"\x7fELF and no more")
    assert "not executable" in machine.agent(tmp_path).text
    file.chmod(0o755)
    assert "does not run" in machine.agent(tmp_path).text
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    assert machine.agent().severity is FAIL
