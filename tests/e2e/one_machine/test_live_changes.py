"""What changes of a running session, end to end: pauses, limits, its name, its protection."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.e2e.kills.faulty import until
from tests.e2e.system import System, docker, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture
def plain(system: System, busybox: str) -> Iterator[str]:
    """A session that runs."""
    name = unique("s")
    system.netvps("create", name, "--image", busybox, "--stop-grace", "1s")
    yield name
    system.netvps("rm", "--yes", name, check=False)


def container(system: System, name: str) -> str:
    return f"netvps-vps-{json.loads(system.netvps('show', name, '-o', 'json').stdout)['uid']}"


def state(system: System, name: str) -> str:
    return docker("inspect", "-f", "{{.State.Status}}", container(system, name)).strip()


def sleep_plan(system: System, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(system.netvps("why-awake", name, "-o", "json").stdout)
    return found


def test_a_pause_keeps_connections_and_a_login_or_an_exec_ends_it(system: System, plain: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    open_before = ["ssh", *system.ssh_options(plain), "127.0.0.1", "cat"]
    with subprocess.Popen(open_before, **pipes, bufsize=0) as before:  # type: ignore[call-overload]
        before.stdin.write(b"one\n")
        assert before.stdout.readline() == b"one\n"
        system.netvps("pause", plain)
        assert state(system, plain) == "paused"
        before.stdin.write(b"two\n")
        login = system.ssh(plain, "echo up")
        assert login.stdout == b"up\n"
        assert f"netvps: session {plain} is paused: resuming it".encode() in login.stderr
        assert before.stdout.readline() == b"two\n"
        before.stdin.close()
        assert before.wait(10) == 0
    system.netvps("pause", plain)
    assert system.netvps("exec", plain, "--", "echo", "up").stdout == b"up\n"
    assert state(system, plain) == "running"
    events = system.netvps("events", plain).stdout.decode()
    assert "PAUSED asked by root" in events
    assert "RUNNING asked by root (login)" in events


def test_a_paused_session_is_stopped_and_a_stopped_one_is_not_paused(system: System, plain: str) -> None:
    system.netvps("pause", plain)
    system.netvps("stop", plain)
    assert state(system, plain) == "exited"
    for command in ("pause", "resume"):
        refused = system.netvps(command, plain, check=False)
        assert refused.returncode == 5
        assert f"start it with: netvps start {plain}.root".encode() in refused.stderr
    system.netvps("start", plain)
    assert "stopped by root" in system.netvps("show", plain).stdout.decode()


def test_what_a_person_stopped_is_started_by_a_terminal_or_on_request_only(system: System, plain: str) -> None:
    system.netvps("stop", plain)
    refused = system.ssh(plain, "true", check=False)
    assert refused.returncode == 255
    assert f"start it with: netvps start {plain}, or log in as wake+{plain}".encode() in refused.stderr
    assert state(system, plain) == "exited"
    asked = system.ssh(f"wake+{plain}", "echo up")
    assert asked.stdout == b"up\n"
    assert f"netvps: session {plain} is stopped: starting it".encode() in asked.stderr
    assert "RUNNING asked by root (login)" in system.netvps("events", plain).stdout.decode()
    system.netvps("stop", plain)
    on_terminal = system.run("ssh", "-tt", *system.ssh_options(plain), "127.0.0.1", "seq 2000 && tty")
    lines = on_terminal.stdout.decode().splitlines()
    assert lines[0] == f"netvps: session {plain} is stopped: starting it"
    assert lines[-2] == "2000"
    assert lines[-1].startswith("/dev/")


def test_limits_change_under_a_running_session(system: System, plain: str) -> None:
    started = docker("inspect", "-f", "{{.State.StartedAt}}", container(system, plain))
    system.netvps("resize", plain, "--memory", "256M", "--pids", "99")
    limits = docker("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", container(system, plain))
    assert limits == f"{256 << 20} 99\n"
    system.ssh(plain, "dd if=/dev/zero of=/dev/shm/full bs=1M count=64")
    refused = system.netvps("resize", plain, "--memory", "32M", check=False)
    assert refused.returncode == 6
    assert b"of memory are in use, more than the new limit of 32 MiB" in refused.stderr
    assert json.loads(system.netvps("show", plain, "-o", "json").stdout)["spec"]["memoryBytes"] == str(256 << 20)
    too_large = system.netvps("resize", plain, "--cpus", "900", check=False)
    assert too_large.returncode == 6
    assert b"900 CPUs are more than the" in too_large.stderr
    assert docker("inspect", "-f", "{{.State.StartedAt}}", container(system, plain)) == started


def test_a_new_name_works_at_once_and_the_hostname_follows_at_the_next_start(system: System, plain: str) -> None:
    new = unique("s")
    system.ssh(plain, "echo kept > /root/proof")
    system.netvps("rename", plain, new)
    try:
        assert system.ssh(new, "cat /root/proof; hostname").stdout == f"kept\n{plain}\n".encode()
        old = system.ssh(plain, "true", check=False)  # not a session's name: the terminal UI, which runs no command
        assert old.returncode == 2
        system.netvps("stop", new, "--wait-snapshot")
        system.netvps("start", new)
        assert system.ssh(new, "cat /root/proof; hostname").stdout == f"kept\n{new}\n".encode()
    finally:
        system.netvps("rm", "--yes", new)


def test_a_protected_session_is_removed_only_after_the_protection_is_lifted(system: System, plain: str) -> None:
    system.netvps("set", plain, "--protect")
    refused = system.netvps("rm", "--yes", plain, check=False)
    assert refused.returncode == 5
    assert f"lift that with: netvps set {plain}.root --no-protect".encode() in refused.stderr
    assert system.ssh(plain, "true").returncode == 0
    system.netvps("set", plain, "--no-protect")
    system.netvps("rm", "--yes", plain)


def test_a_session_that_is_not_restarted_is_stopped_when_its_container_ends(system: System, plain: str) -> None:
    system.netvps("set", plain, "--restart", "never")
    docker("kill", container(system, plain))
    until("it is stopped", lambda: b"SESSION_STATE_STOPPED" in system.netvps("show", plain, "-o", "json").stdout)
    assert "its restart policy is never" in system.netvps("events", plain).stdout.decode()
    assert "killed (exit code 137)" in system.netvps("events", plain).stdout.decode()


def test_a_lease_delays_the_stop_which_is_announced_and_any_login_undoes_it(system: System, plain: str) -> None:
    system.netvps("set", plain, "--idle-stop", "30s")
    until("its agent reports", lambda: "stopTime" in sleep_plan(system, plain), 60)
    assert b"kept awake until" in system.ssh(plain, "/.netvps/bin/nv keep 1h").stdout
    kept = datetime.fromisoformat(sleep_plan(system, plain)["stopTime"])
    assert kept > datetime.now(kept.tzinfo) + timedelta(minutes=50)
    login = ["ssh", "-tt", *system.ssh_options(plain), "127.0.0.1"]
    until("a login says so", lambda: b"Kept awake until" in system.run(*login, input=b"exit\n").stdout)
    with subprocess.Popen(login, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        terminal.stdin.write(b"/.netvps/bin/nv keep 0\n")
        terminal.stdin.flush()
        shown = terminal.stdout.read().decode()  # until the session is stopped
    assert "It stops after 30s without activity. Kept awake until" in shown
    assert "no lease any more" in shown
    assert "netvps: this session stops in 15s" in shown or "netvps: this session stops in 14s" in shown
    until("it is stopped", lambda: b"STOPPED" in system.netvps("show", plain, "-o", "json").stdout, 30)
    assert "stopped by idle" in system.netvps("show", plain).stdout.decode()
    assert system.ssh(plain, "echo up").stdout == b"up\n"
