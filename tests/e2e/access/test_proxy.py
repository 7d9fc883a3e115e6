"""`ProxyCommand netvps ssh-proxy %h`: stock OpenSSH to the session's own SSH server, over restarts of the server."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netvps.process.account import user_name
from tests.e2e.documents.printed import plain_ssh
from tests.e2e.kills.faulty import until
from tests.e2e.system import NETVPS, Account, Answer, System, free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
PROXY = " ".join(f"'{word}'" for word in (*NETVPS, "ssh-proxy")) + " %h"


@pytest.fixture(scope="module")
def system(ui_system: System) -> System:
    ui_system.netvps("config-ssh")
    return ui_system


def _words(person: Account, program: str, *words: str | Path) -> list[str]:
    return [program, *plain_ssh(person), "-o", f"ProxyCommand={PROXY}", *(str(word) for word in words)]


def _run(person: Account, program: str, *words: str | Path, **options: object) -> Answer:
    return person.run(*_words(person, program, *words), **({"stdin": subprocess.DEVNULL} | options))  # type: ignore[arg-type]


def _host(name: str = "dev1") -> str:
    return f"{name}.{user_name()}.nv.internal"


def test_exit_codes_and_outputs_are_those_of_the_command(system: System) -> None:
    answer = _run(system, "ssh", _host(), "echo in; echo oops >&2; exit 3", check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (3, b"in\n", b"oops\n")
    killed = _run(system, "ssh", _host(), "kill -9 $$", check=False)
    assert killed.returncode == 255


def test_config_ssh_writes_it(system: System) -> None:
    system.netvps("config-ssh", "--proxy")
    try:
        config = (system.home / ".ssh/netvps/config").read_text()
        assert "netvps --context local ssh-proxy %h" in config
        answer = system.run("ssh", *plain_ssh(system), _host(), "echo in", stdin=subprocess.DEVNULL)
        assert (answer.stdout, answer.stderr) == (b"in\n", b"")
        system.netvps("config-ssh")  # what other commands do keeps it
        assert (system.home / ".ssh/netvps/config").read_text() == config
    finally:
        system.netvps("config-ssh", "--no-proxy")
    assert "ProxyJump netvps-local" in (system.home / ".ssh/netvps/config").read_text()


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends it with the block, also where that failed."""
    try:
        yield
    finally:
        process.kill()


def test_terminals_and_files_and_forwards(system: System, tmp_path: Path) -> None:
    """Over one connection, which a master keeps."""
    control = tmp_path / "control"
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(8 << 20))
    shared = ("-o", f"ControlPath={control}")
    port = free_ports()["http"]
    words = _words(system, "ssh", *shared, "-M", "-N", "-L", f"{port}:localhost:22", _host())
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, env=system.full_environment()) as master, ending(master):
        until("the master listens", control.exists)
        assert b"a terminal" in _run(system, "ssh", *shared, "-tt", _host(), "test -t 0 && echo a terminal").stdout
        _run(system, "scp", *shared, sent, f"{_host()}:/root/proxied")
        batch = f"get /root/proxied {tmp_path}/back\n".encode()
        _run(system, "sftp", *shared, "-b", "-", _host(), stdin=None, input=batch)
        with socket.create_connection(("127.0.0.1", port)) as led:
            assert led.recv(100).startswith(b"SSH-2.0-netvps")
        _run(system, "ssh", *shared, "-O", "exit", _host())
        master.wait(20)
    assert (tmp_path / "back").read_bytes() == sent.read_bytes()


def test_unknown_foreign_and_stopped_sessions_are_explained(system: System) -> None:
    trust = ("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={system.home}/none")
    said = [_run(system, "ssh", *trust, name, "true", check=False) for name in ("nosuch", "dev1.another")]
    assert {answer.returncode for answer in said} == {255}
    assert b"netvps: session 'nosuch' is not open to you: `netvps ls` lists yours" in said[0].stderr
    assert said[1].stderr.replace(b"dev1.another", b"nosuch") == said[0].stderr
    system.netvps("create", "halted")
    system.netvps("stop", "halted")
    stopped = _run(system, "ssh", _host("halted"), "true", check=False)
    assert stopped.returncode == 255
    assert b"a person stopped it, so only a login with a terminal starts it" in stopped.stderr
    system.netvps("set", "halted", "--wake", "always")
    woken = _run(system, "ssh", _host("halted"), "echo up")
    assert woken.stdout == b"up\n"
    assert b"netvps: session halted is stopped: starting it" in woken.stderr
    system.netvps("rm", "--yes", "halted")


def _server(system: System) -> int:
    (pid,) = [pid for pid, line in system.processes().items() if "netvps.programs.server" in line]
    return pid


def test_transfers_go_on_when_the_server_is_killed_and_started_again(system: System) -> None:
    """Both directions at once, and two kills, each in the middle."""
    data = os.urandom(64 << 20)
    ssh = subprocess.Popen(
        _words(system, "ssh", _host(), "cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=system.full_environment(),
    )
    assert ssh.stdin is not None
    assert ssh.stdout is not None
    assert ssh.stderr is not None
    parts = [data[: 20 << 20], data[20 << 20 : 40 << 20], data[40 << 20 :]]
    said: list[bytes] = []
    reading = threading.Thread(target=lambda: said.extend(ssh.stderr))  # type: ignore[arg-type]
    reading.start()
    got = bytearray()

    def read_until(size: int) -> None:
        while len(got) < size:
            piece = os.read(ssh.stdout.fileno(), 1 << 20)  # type: ignore[union-attr]
            assert piece, b"".join(said)
            got.extend(piece)

    def send(part: bytes) -> threading.Thread:
        writing = threading.Thread(target=lambda: (ssh.stdin.write(part), ssh.stdin.flush()))  # type: ignore[union-attr]
        writing.start()
        return writing

    with ssh, ending(ssh):
        for number, part in enumerate(parts):
            writing = send(part)
            read_until(sum(map(len, parts[:number])) + len(part) // 2)
            if number < 2:
                os.kill(_server(system), signal.SIGKILL)
            read_until(sum(map(len, parts[: number + 1])))
            writing.join()
        ssh.stdin.close()
        assert ssh.stdout.read() == b""
        assert ssh.wait(60) == 0
    reading.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert b"".join(said).count(b"netvps: the connection goes on") == 2, b"".join(said)


def test_who_loses_access_is_out_and_hears_why(system: System) -> None:
    """A removed session, here, whose agent ends with it."""
    system.netvps("create", "going")
    words = _words(system, "ssh", _host("going"), "echo in; sleep 100")
    environment = system.full_environment()
    ssh = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    with ssh, ending(ssh):
        assert ssh.stdout is not None
        assert ssh.stderr is not None
        assert ssh.stdout.readline() == b"in\n"
        system.netvps("rm", "--yes", "going")
        assert ssh.wait(60) == 255
        assert b"netvps: " in ssh.stderr.read()
