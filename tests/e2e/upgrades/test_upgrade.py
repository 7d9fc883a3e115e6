"""A rolling upgrade from the version before this one, by the commands of docs/upgrade.md, with sessions that run.

The earlier version is a wheel that is built from git's history, so these run with NETVPS_FULL only.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netvps.process.account import user_name
from tests.e2e.documents.printed import plain_ssh, run_printed, words_of
from tests.e2e.kills.faulty import until
from tests.e2e.system import NETVPS, System, docker, new_system
from tests.e2e.upgrades.previous import unpacked_wheel
from tests.project.doc_pages import ROOT, run_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.docker,
    pytest.mark.slow,
]
SESSIONS = 20


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program before this one."""
    return unpacked_wheel(tmp_path_factory.mktemp("earlier"))


class Machine:
    """A machine with one program of netvps, of the earlier version or this one."""

    def __init__(self, stack: ExitStack, *arguments: str) -> None:
        self.system = new_system()
        stack.callback(self.system.destroy)
        self._stack, self._running = stack, ExitStack()
        stack.callback(self.stop)
        self._arguments = arguments

    def install(self, program: Path | None) -> None:
        """Installs a version: None is this one."""
        self.system.environment.pop("PYTHONPATH", None)
        if program is not None:
            self.system.environment["PYTHONPATH"] = str(program)
        where = "import netvps; print(netvps.__file__)"
        found = self.system.run(sys.executable, "-c", where, cwd=self.system.home).stdout.decode()
        assert found.startswith(str(program or ROOT)), found

    def start(self, *arguments: str) -> None:
        self._running.enter_context(_running(self.system, *self._arguments, *arguments))

    def stop(self) -> None:
        self._running.close()

    def restart(self) -> None:
        self.stop()
        self.start()


@contextmanager
def _running(system: System, *arguments: str) -> Iterator[None]:
    """A program in the foreground, once it is there."""
    said = "control plane serves" if arguments[0] == "server" else '"connected"'
    log = system.home / f"{arguments[0]}.log"
    with (
        log.open("wb") as written,
        subprocess.Popen(
            [*NETVPS, *arguments], env=system.full_environment(), cwd=system.home, stderr=written
        ) as process,
    ):
        try:
            until(f"{arguments[0]} serves", lambda: said in log.read_text() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(60)


def _server(stack: ExitStack) -> Machine:
    machine = Machine(stack, "server", "--drain", "1")
    ports = [word for name, port in machine.system.ports.items() for word in (f"--{name}-port", str(port))]
    machine._arguments += tuple(ports)
    return machine


def _join(server: Machine, runner: Machine) -> None:
    """Starts a runner with a token."""
    token = runner.system.home / "token"
    token.write_bytes(server.system.netvps("runner", "join-token", cwd=server.system.home).stdout)
    address = f"127.0.0.1:{server.system.ports['api']}"
    runner.start("--server", address, "--join-token-file", str(token), "--name", "box1")


def _first_processes(runner: Machine) -> dict[str, tuple[str, str]]:
    """Each container of a runner, with its PID 1 and when the kernel started that."""
    containers = docker("ps", "-q", "--filter", f"label=netvps.node={runner.system.runner_uid()}").split()
    found = {}
    for line in docker("inspect", "-f", "{{.Id}} {{.State.Pid}}", *containers).splitlines():
        container, pid = line.split()
        found[container] = pid, Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[19]
    return found


class Talk:
    """An open connection of `ssh` by way of `netvps ssh-proxy`, to a session that answers what it is sent."""

    def __init__(self, stack: ExitStack, system: System, name: str) -> None:
        proxy = " ".join(f"'{word}'" for word in (*NETVPS, "ssh-proxy")) + " %h"
        words = ["ssh", *plain_ssh(system), "-o", f"ProxyCommand={proxy}", f"{name}.{user_name()}.nv.internal", "cat"]
        self._ssh = stack.enter_context(
            subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=system.full_environment(),
                cwd=system.home,
            )
        )
        stack.callback(self._ssh.kill)

    def answers(self, text: bytes) -> bool:
        assert self._ssh.stdin is not None
        assert self._ssh.stdout is not None
        self._ssh.stdin.write(text + b"\n")
        self._ssh.stdin.flush()
        return self._ssh.stdout.readline() == text + b"\n"


def test_a_rolling_upgrade_restarts_no_session(earlier: Path, busybox: str) -> None:
    """Server first, so the runner of the version before works with it; connections and sessions outlive both steps."""
    with ExitStack() as stack:
        server, runner = _server(stack), Machine(stack, "runner")
        for machine in (server, runner):
            machine.install(earlier)
        server.start()
        _join(server, runner)
        names = [f"s{number}" for number in range(SESSIONS)]
        person, home = server.system, server.system.home
        person.netvps("create", *names, "--image", busybox, cwd=home)
        person.netvps("config-ssh", cwd=home)
        before = _first_processes(runner)
        assert len(before) == SESSIONS
        talk = Talk(stack, person, "s0")
        assert talk.answers(b"before")
        machines = {"netvps-server": server, "netvps-runner": runner}
        for line in run_lines("docs/upgrade.md"):
            if line.startswith("systemctl restart"):
                machine = machines[line.split()[-1]]
                machine.install(None)
                machine.restart()
                assert talk.answers(line.encode())
                assert _first_processes(runner) == before
                fresh = f"new{len(line)}"
                person.netvps("create", fresh, "--image", busybox, cwd=home)
                person.netvps("stop", fresh, cwd=home)
                person.netvps("start", fresh, cwd=home)
                assert person.ssh(fresh, "hostname").stdout == f"{fresh}\n".encode()
                person.netvps("rm", "--yes", fresh, cwd=home)
            else:
                run_printed(person, words_of(line, person, busybox))
        for name in names:
            assert person.netvps("exec", name, "--", "hostname", cwd=home).stdout == f"{name}\n".encode()
        assert _first_processes(runner) == before
        person.netvps("rm", "--yes", *names, cwd=home)


def test_a_runner_that_is_upgraded_before_its_server_works(earlier: Path, busybox: str) -> None:
    """The order that the page does not recommend."""
    with ExitStack() as stack:
        server, runner = _server(stack), Machine(stack, "runner")
        server.install(earlier)
        server.start()
        _join(server, runner)
        person, home = server.system, server.system.home
        person.netvps("create", "dev1", "--image", busybox, cwd=home)
        before = _first_processes(runner)
        person.netvps("exec", "dev1", "--", "sh", "-c", "echo kept > /root/file", cwd=home)
        runner.restart()
        assert _first_processes(runner) == before
        person.netvps("stop", "dev1", cwd=home)
        person.netvps("start", "dev1", cwd=home)
        assert person.ssh("dev1", "cat", "/root/file").stdout == b"kept\n"
        server.stop()
        server.install(None)
        server.start()
        assert person.ssh("dev1", "cat", "/root/file").stdout == b"kept\n"
        person.netvps("rm", "--yes", "dev1", cwd=home)


def test_the_version_before_refuses_the_database_of_this_one(earlier: Path) -> None:
    """So that nothing is lost by a step back: a backup is restored for that."""
    with ExitStack() as stack:
        server = _server(stack)
        server.install(None)
        server.start()
        server.stop()
        server.install(earlier)
        answer = server.system.netvps(*server._arguments, check=False, cwd=server.system.home)
        assert answer.returncode == 10
        assert b"newer than this program" in answer.stderr
        server.install(None)
        server.start()
