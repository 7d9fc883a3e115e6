"""One machine, from nothing to ssh and back: real Docker, real OpenSSH, every program a process of its own."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.system import NETVPS, Account, System, docker, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
MEGABYTES = 100


@pytest.fixture(scope="module")
def bytes_to_send(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of random bytes, and its SHA-256."""
    file, total = tmp_path_factory.mktemp("bytes") / "sent", hashlib.sha256()
    with file.open("wb") as output:
        for _ in range(MEGABYTES):
            piece = os.urandom(1 << 20)
            output.write(piece)
            total.update(piece)
    return file, total.hexdigest()


@pytest.fixture
def session(system: System, image: str) -> Iterator[str]:
    """A session that runs."""
    name = unique("s")
    system.netvps("create", name, "--image", image)
    yield name
    system.netvps("rm", "--yes", name, check=False)


@pytest.fixture
def plain(system: System, busybox: str) -> Iterator[str]:
    """A session that runs, where the image does not matter."""
    name = unique("s")
    system.netvps("create", name, "--image", busybox)
    yield name
    system.netvps("rm", "--yes", name, check=False)


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def test_ssh_scp_and_sftp_carry_bytes_both_ways(
    system: System, session: str, bytes_to_send: tuple[Path, str], tmp_path: Path
) -> None:
    sent, expected = bytes_to_send
    options = system.ssh_options(session)

    def there(name: str) -> str:
        return system.ssh(session, "sha256sum", f"/root/{name}").stdout.decode().split()[0]

    with sent.open("rb") as content:
        system.ssh(session, "cat > /root/cat", stdin=content)
    with (tmp_path / "cat").open("wb") as output:
        subprocess.run(["ssh", *options, "127.0.0.1", "cat /root/cat"], stdout=output, check=True, timeout=120)
    system.run("scp", *options, sent, "127.0.0.1:/root/scp")
    system.run("scp", *options, "127.0.0.1:/root/scp", tmp_path / "scp")
    batch = f"put {sent} /root/sftp\nget /root/sftp {tmp_path}/sftp\n"
    system.run("sftp", *options, "-b", "-", "127.0.0.1", input=batch.encode())
    assert {name: (there(name), _hash(tmp_path / name)) for name in ("cat", "scp", "sftp")} == dict.fromkeys(
        ("cat", "scp", "sftp"), (expected, expected)
    )


def test_files_ports_and_a_restart_by_the_names_that_are_printed(system: System, plain: str, tmp_path: Path) -> None:
    """`cp`, `forward`, `restart` and `events` of the CLI, with no option of ssh."""
    name = f"sessions/{plain}.root"
    (tmp_path / "sent").write_text("sent by name\n")
    system.netvps("cp", tmp_path / "sent", f"{name}:/root/a b")
    system.netvps("restart", name)
    system.netvps("cp", f"{plain}:/root/a b", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "sent by name\n"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*NETVPS, "forward", plain, f"{port}:22"]
    with subprocess.Popen(command, env=system.full_environment(), stderr=subprocess.PIPE) as forwarding:
        try:
            assert _banner(port).startswith(b"SSH-2.0-")
        finally:
            forwarding.terminate()
    states = [line.split()[2] for line in system.netvps("events", plain).stdout.decode().splitlines()]
    assert states[0] == "PENDING"
    assert states[-1] == "RUNNING"
    assert "STOPPED" in states


def _banner(port: int) -> bytes:
    """What the server behind a port says first, once it can be reached."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                return connection.recv(64)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_rsync_carries_bytes_both_ways(
    system: System, debian: str, bytes_to_send: tuple[Path, str], tmp_path: Path
) -> None:
    sent, expected = bytes_to_send
    name = unique("s")
    system.netvps("create", name, "--image", debian)
    shell = " ".join(["ssh", *system.ssh_options(name)])
    system.run("rsync", "-e", shell, sent, "127.0.0.1:/root/sent")
    system.run("rsync", "-e", shell, "127.0.0.1:/root/sent", tmp_path / "back")
    assert _hash(tmp_path / "back") == expected
    system.netvps("rm", "--yes", name)


@pytest.mark.parametrize("code", [0, 1, 255])
def test_exit_codes_arrive(system: System, session: str, code: int) -> None:
    assert system.ssh(session, f"exit {code}", check=False).returncode == code
    assert system.netvps("exec", session, "--", "sh", "-c", f"exit {code}", check=False).returncode == code


def test_death_by_signal_arrives(system: System, session: str) -> None:
    answer = system.run("ssh", "-v", *system.ssh_options(session), "127.0.0.1", "kill -KILL $$", check=False)
    assert answer.returncode == 255
    assert b"rtype exit-signal" in answer.stderr
    killed = system.netvps("exec", session, "--", "sh", "-c", "kill -KILL $$", check=False)
    assert killed.returncode == 128 + signal.SIGKILL


def test_a_command_that_lost_its_agent_is_begun_once_and_says_so(system: System, plain: str) -> None:
    """Killed as by the kernel that is out of memory, three times, for as long as a client would try again."""
    container = f"netvps-vps-{_uid(system, plain)}"
    agents = "grep -l '^/.netvps/agent.serve' /proc/[0-9]*/cmdline | cut -d / -f 3"
    kill = f"kill -9 $({agents})"
    words = ("exec", "--no-stdin", plain, "--", "sh", "-c", "echo begun >> /tmp/begun; sleep 60")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(system.netvps, *words, check=False)
        while not docker("exec", container, "cat", "/tmp/begun", check=False):
            assert not running.done(), running.result().stderr
            time.sleep(0.1)
        for _ in range(3):
            docker("exec", container, "sh", "-c", kill, check=False)
            time.sleep(1)
        ended = running.result(timeout=60)
    assert ended.returncode == 255, ended
    assert b"the session disconnected while the command ran" in ended.stderr
    assert system.ssh(plain, "cat /tmp/begun").stdout == b"begun\n"


def test_stdout_and_stderr_stay_apart(system: System, session: str) -> None:
    answer = system.ssh(session, "echo out; echo err >&2")
    assert answer.stdout == b"out\n"
    assert b"err\n" in answer.stderr


def test_a_terminal_is_a_terminal(system: System, session: str) -> None:
    answer = system.run("ssh", "-tt", *system.ssh_options(session), "127.0.0.1", "tty; test -t 0 && echo yes")
    assert b"/dev/pts/" in answer.stdout
    assert b"yes" in answer.stdout


def test_a_login_says_what_the_session_is_unless_hushed(system: System, plain: str) -> None:
    def login() -> str:
        options = system.ssh_options(plain)
        return system.run("ssh", "-tt", *options, "127.0.0.1", input=b"exit\n").stdout.decode()

    assert f"{plain} is a session of netvps" in login()
    readme = system.ssh(plain, "stat -c %a /.netvps/README; cat /.netvps/README").stdout.decode()
    assert readme.startswith(f"444\n{plain} is a session of netvps")
    system.ssh(plain, "touch ~/.hushlogin")
    assert "netvps" not in login().replace(plain, "")


def test_a_file_survives_stop_and_start_and_is_read_from_its_snapshot(
    system: System, session: str, tmp_path: Path
) -> None:
    def read_snapshot(login: str) -> str:
        get = f"get /.snapshots/*/root/proof {tmp_path}/proof\n".encode()
        system.run("sftp", "-b", "-", *system.ssh_options(login), "127.0.0.1", input=get)
        return (tmp_path / "proof").read_text()

    system.ssh(session, "echo kept > /root/proof")
    system.netvps("stop", session, "--wait-snapshot")
    assert docker("ps", "-q", "--filter", f"name=netvps-vps-{_uid(system, session)}") == ""
    refused = system.ssh(session, "true", check=False)
    assert refused.returncode == 255
    assert b"netvps start" in refused.stderr or b"STOPPED" in refused.stderr, refused.stderr.decode()
    assert read_snapshot(session) == "kept\n"
    system.netvps("start", session)
    assert system.ssh(session, "cat /root/proof").stdout == b"kept\n"
    system.ssh(session, "echo changed > /root/proof")
    assert read_snapshot(f"{session}+.snapshots") == "kept\n"


def test_a_session_without_a_network_is_reached_and_reported(system: System, busybox: str) -> None:
    name = unique("s")
    system.netvps("create", name, "--image", busybox, "--network", "none")
    links = system.ssh(name, "ls /sys/class/net").stdout.split()
    checked = system.netvps("network", "check", name, check=False)
    system.netvps("rm", "--yes", name)
    assert links == [b"lo"]
    assert checked.returncode == 1
    assert b"it was made without a network (--network none)" in checked.stdout
    assert b"10.128.0.0/10" in system.netvps("network", "show").stdout


def test_a_revoked_key_stops_working_in_a_running_session(system: System, plain: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other)
    system.netvps("key", "add", f"{other}.pub")
    assert system.ssh(plain, "true", key=other).returncode == 0
    open_one = subprocess.Popen(
        ["ssh", *system.ssh_options(plain, other), "127.0.0.1", "echo in; sleep 60"], stdout=subprocess.PIPE
    )
    with open_one:
        assert open_one.stdout is not None
        assert open_one.stdout.readline() == b"in\n"
        fingerprint = system.run("ssh-keygen", "-lf", f"{other}.pub").stdout.decode().split()[1]
        system.netvps("key", "rm", fingerprint)
        assert open_one.wait(timeout=20) == 255
    refused = system.ssh(plain, "true", key=other, check=False)
    assert refused.returncode == 255
    assert b"Permission denied" in refused.stderr
    assert system.ssh(plain, "true").returncode == 0


def test_forwards_in_both_directions(system: System, plain: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as echo, socket.create_server(("127.0.0.1", 0)) as unused:
        threading.Thread(target=_echo_once, args=(echo,), daemon=True).start()
        local = unused.getsockname()[1]
        unused.close()
        remote = 20000 + local % 10000
        forward = [f"-L{local}:127.0.0.1:{remote}", f"-R{remote}:127.0.0.1:{echo.getsockname()[1]}"]
        command = ["ssh", *system.ssh_options(plain), "-o", "ExitOnForwardFailure=yes", *forward, "127.0.0.1"]
        with subprocess.Popen([*command, "echo ready; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ssh:
            assert ssh.stdout is not None
            assert ssh.stdout.readline() == b"ready\n"
            # Through the gateway into the session, and from there back through it to us.
            with socket.create_connection(("127.0.0.1", local), timeout=20) as there:
                there.sendall(b"around")
                there.shutdown(socket.SHUT_WR)
                assert there.makefile("rb").read() == b"around"
            ssh.terminate()


def _echo_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(1024):
            connection.sendall(data)


def test_another_person_logs_in_with_a_key_and_sees_their_own_only(
    system: System, plain: str, busybox: str, tmp_path: Path
) -> None:
    system.netvps("user", "add", "alice")
    key = system.netvps("user", "api-key", "alice").stdout
    alice = Account(tmp_path / "alice", {"NETVPS_SOCKET": str(tmp_path / "none.sock")})
    alice.home.mkdir()
    alice.netvps("login", f"127.0.0.1:{system.ports['api']}", "--yes", input=key)
    assert alice.netvps("ls", "-o", "name").stdout == b""
    missing, foreign = (alice.netvps("show", f"{name}.{system_user()}", check=False) for name in ("none", plain))
    assert (missing.returncode, foreign.returncode) == (3, 3)
    assert foreign.stderr.replace(plain.encode(), b"none") == missing.stderr
    alice.netvps("create", "mine", "--image", busybox)
    assert alice.netvps("ssh", "mine", "--", "hostname").stdout == b"mine\n"
    own = alice.home / ".ssh/netvps_ed25519"
    assert system.ssh(f"{plain}.{system_user()}", "true", check=False, key=own).returncode == 255
    assert alice.netvps("runner", "join-token", check=False).returncode == 4
    alice.netvps("rm", "--yes", "mine")
    system.netvps("user", "rm", "--yes", "alice")
    assert alice.netvps("ls", check=False).returncode == 4


def system_user() -> str:
    from netvps.process.account import user_name

    return user_name()


def _uid(system: System, name: str) -> str:
    import json

    return str(json.loads(system.netvps("show", name, "-o", "json").stdout)["uid"])


def test_a_second_up_says_what_runs_and_refuses_other_flags(system: System) -> None:
    again = system.up()
    assert f"process {system.pid()}: ssh 127.0.0.1:{system.ports['ssh']}" in again.stderr.decode()
    other = system.up("--listen", "127.0.0.2", check=False)
    assert other.returncode == 10
    assert "--restart` starts it with the new flags" in other.stderr.decode()


def test_flags_are_kept_for_the_next_start(system: System) -> None:
    first = system.pid()
    answer = system.netvps("up", "--restart")
    assert system.pid() != first
    assert f"ssh 127.0.0.1:{system.ports['ssh']}" in answer.stderr.decode()


def test_sessions_outlive_a_kill_of_everything(system: System, plain: str) -> None:
    system.ssh(plain, "echo kept > /tmp/proof")
    os.kill(system.pid(), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while system.processes():
        assert time.monotonic() < deadline, system.processes()
        time.sleep(0.1)
    assert docker("ps", "-q", "--filter", f"name=netvps-vps-{_container(system)}") != ""
    system.up()
    assert system.ssh(plain, "cat /tmp/proof").stdout == b"kept\n"


def _container(system: System) -> str:
    own = ("--filter", f"label=netvps.node={system.runner_uid()}")
    return docker("ps", *own, "--format", '{{.Label "netvps.session_id"}}').split()[0]


def test_no_secret_is_in_the_log_or_in_a_command_line(system: System) -> None:
    log = (system.state / "up.log").read_text()
    assert "PRIVATE KEY" not in log
    assert "nvj_" not in log.replace("[redacted]", "")
    assert not [line for line in system.processes().values() if "nvj_" in line or "nv_" in line]


@pytest.mark.usefixtures("plain")
def test_nothing_is_left_after_rm_and_down(system: System) -> None:
    assert system.traces() != []
    for name in system.netvps("ls", "-o", "name").stdout.decode().split():
        system.netvps("rm", "--yes", name)
    system.netvps("down")
    assert system.traces() == []
    assert not (system.runtime / "api.sock").exists()
    system.up()
