"""A cluster of several hosts on this machine: scripts/lab, a server on the first, a runner on each.

host 1: 192.0.2.1          host 2: 192.0.2.2          host 3: …
dockerd, server, runner    dockerd, runner            dockerd, runner
        └──────────────── br0 in namespace LAB-switch ─────┘
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.links import KernelState
from netvps.domain.overlay.kernel.plan import plan
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import RunnerState, Underlay
from netvps.domain.session.spec import Network, SessionSpec
from netvps.errors import NetvpsError
from netvps.programs.wiring.identity import FOLDER, load_identity
from netvps.programs.wiring.overlay import MEMORY
from netvps.rpc.client.client import Client, Endpoint
from netvps.runner.overlay.netmap_store import FileNetmapStore
from tests.e2e.system import NETVPS
from tests.support.environment import INHERITED
from tests.support.images import BUSYBOX, busybox_archive, import_image
from tests.support.namespaces import Namespace

_SCRIPT: Final = Path(__file__).parents[3] / "scripts/lab"
_API, _LINK, _SSH, _HTTP = 7443, 7444, 2222, 7480
API: Final = f"192.0.2.1:{_API}"
IMAGE: Final = "lab/busybox:latest"
WAIT: Final = 60.0


@dataclass
class Session:
    name: str
    host: Host
    address: str
    pid: int

    @property
    def inside(self) -> tuple[str, ...]:
        """What comes before a command that is to run in its network."""
        return ("nsenter", "-t", str(self.pid), "-n")

    def run(self, *command: str, check: bool = True, timeout: float = 30) -> str:
        """A command of busybox's in the session's network."""
        return _ran(*self.inside, str(BUSYBOX), *command, check=check, timeout=timeout)

    def reaches(self, address: str, size: int = 56) -> bool:
        """Whether it gets an answer to a ping."""
        return "1 packets received" in self.run("ping", "-c", "1", "-W", "2", "-s", str(size), address, check=False)


@dataclass
class Host:
    number: int
    lab: Lab
    runner: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """What its runner has besides."""
    choice: str = ""
    """Of the underlay, by its runner's settings."""
    namespace: Namespace = field(init=False)
    underlay: str = field(init=False)

    def __post_init__(self) -> None:
        self.namespace = Namespace(f"{self.lab.prefix}-{self.number}")
        self.underlay = f"192.0.2.{self.number}"

    @property
    def inside(self) -> tuple[str, ...]:
        """What comes before a command that is to run there."""
        return _inside(self)

    @property
    def docker_host(self) -> str:
        return f"unix:///var/tmp/{self.lab.prefix}/{self.number}/docker.sock"

    @property
    def folder(self) -> Path:
        return self.lab.folder / str(self.number)

    @property
    def log(self) -> str:
        """What its runner said."""
        return (self.folder / "log").read_text()

    def start_runner(self, *arguments: str) -> None:
        """It joins if it never did."""
        self.runner = self.lab.start(self, self.folder, *self._command(*arguments))

    def start_process(self) -> None:
        """Does not wait until it is connected."""
        self.runner = self.lab.spawn(self, self.folder, *self._command())

    def _command(self, *arguments: str) -> tuple[str, ...]:
        self.folder.mkdir(exist_ok=True)
        joining: tuple[str, ...] = ()
        if not (self.folder / "s" / FOLDER / "identity").exists():
            token = self.folder / "token"
            token.write_text(self.lab.netvps("runner", "join-token"))
            joining = ("--join-token-file", str(token))
        server = ("--server", f"192.0.2.1:{_API}", "--name", f"box{self.number}")
        choice = ("--underlay", self.choice) if self.choice else ()
        return ("runner", *server, *joining, "--docker-host", self.docker_host, *choice, *arguments)

    def stop_runner(self, signal_: int = signal.SIGTERM) -> None:
        """Ends it; SIGKILL leaves it no time."""
        if self.runner:
            self.runner.send_signal(signal_)
            self.runner.wait(60)
            self.runner = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Its runner does nothing within the block."""
        assert self.runner
        self.runner.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.runner.send_signal(signal.SIGCONT)

    def netvps(self, *arguments: str) -> str:
        """A command on this machine."""
        return _ran(*_inside(self), *NETVPS, *arguments, timeout=120, environment=self.lab.environment(self.folder))

    def docker(self, *arguments: str, check: bool = True) -> str:
        return _ran("docker", "-H", self.docker_host, *arguments, check=check, timeout=120)

    def state(self) -> tuple[KernelState, KernelState]:
        """The desired state of its kernel, by what its runner received, and the actual one."""
        view, actual = self.view_and_kernel()
        return plan(view), actual

    def forget_sessions(self) -> None:
        """What its runner kept of the netmap is from before any session; to be called while it does not run."""
        memory = self.folder / "s" / FOLDER / MEMORY
        memory.write_text(json.dumps(json.loads(memory.read_text()) | {"endpoints": []}))

    def view_and_kernel(self) -> tuple[View, KernelState]:
        """What its runner received, and what is in its kernel."""
        identity = load_identity(self.folder / "s")
        known = identity and FileNetmapStore(self.folder / "s" / FOLDER / MEMORY, identity.uid).load()
        assert identity
        assert known, "the runner keeps no netmap yet"

        async def look() -> tuple[KernelState, Underlay]:
            async with NetlinkKernel(server="192.0.2.1", underlay=self.choice) as kernel:
                return await kernel.dump(), await kernel.underlay()

        with self.namespace.inside():
            actual, way = asyncio.run(look())
        return View(identity.uid, known.overlay_settings, known.lease, way, known.netmap, known.health), actual

    def settled(self) -> bool:
        """Whether its kernel is as planned, and its runner knows of all of the lab's runners."""
        try:
            desired, actual = self.state()
        except AssertionError:
            return False
        running = sum(host.runner is not None for host in self.lab.hosts)
        return diff(desired, actual) == () and sum(not cidr.endswith("/32") for cidr in desired.routes) == running


class Lab:
    """`with` it; `hosts` are numbered from 1."""

    def __init__(self, count: int, *server: str) -> None:
        """`server` are further flags of the server."""
        self.prefix = f"nvl{secrets.token_hex(3)}"
        self.folder = Path(tempfile.mkdtemp(prefix="nvl-"))
        self.count = count
        self._server_flags = server
        self.hosts: list[Host] = []
        self.server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.script("up", str(self.count))
            self.hosts = [Host(number, self) for number in range(1, self.count + 1)]
            archive = busybox_archive()
            for host in self.hosts:
                import_image(archive, IMAGE, host.docker_host)
                # A VPS host is mostly so: Docker sets it by itself where it is the first to turn forwarding on.
                host.namespace.run("iptables", "-P", "FORWARD", "DROP")
                host.namespace.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
            self.start_server()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.stop_runner(signal.SIGKILL)
        self.stop_server(signal.SIGKILL)
        self.script("down")
        shutil.rmtree(self.folder)

    def script(self, *arguments: str) -> str:
        return _ran(str(_SCRIPT), *arguments, timeout=240, environment={"NETVPS_LAB": self.prefix})

    def start_server(self) -> None:
        self.server = self.start(self.hosts[0], self._server_folder(), *self._server_command())

    def spawn_server(self) -> None:
        """Does not wait until it serves."""
        self.server = self.spawn(self.hosts[0], self._server_folder(), *self._server_command())

    def _server_folder(self) -> Path:
        folder = self.folder / "server"
        folder.mkdir(exist_ok=True)
        return folder

    def _server_command(self) -> tuple[str, ...]:
        flags = [word for name, port in _ports().items() for word in (f"--{name}-port", str(port))]
        return ("server", "--listen", "192.0.2.1", *flags, "--drain", "1", *self._server_flags)

    def stop_server(self, signal_: int = signal.SIGTERM) -> None:
        if self.server:
            self.server.send_signal(signal_)
            self.server.wait(60)
            self.server = None

    def start(self, host: Host, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a program of netvps on a host; returns when it serves."""
        reader, writer = os.pipe()
        try:
            process = self.spawn(host, folder, *arguments, "--ready-fd", str(writer), keep=writer)
            os.close(writer)
            _await_ready(reader, process, folder / "log")
        finally:
            os.close(reader)
        return process

    def spawn(self, host: Host, folder: Path, *arguments: str, keep: int = 2) -> subprocess.Popen[bytes]:
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*_inside(host), *NETVPS, *arguments],
                env=self.environment(folder) | host.environment,
                stdout=log,
                stderr=log,
                pass_fds=[keep],
            )

    def client(self) -> Client:
        """An administrator's, on the server's own socket: what is asked often is asked without a process each."""
        return Client(Endpoint(f"unix:{self.folder}/server/r/api.sock"))

    def online(self) -> int:
        """How many runners are; none if there is no server."""
        try:
            with self.client() as client:
                return sum(view.runner.state is RunnerState.ONLINE for view in client.list_runners())
        except NetvpsError:
            return 0

    @contextmanager
    def another(self) -> Iterator[Host]:
        """A further host, for a while; its runner has been removed by the end of the block."""
        number = self.count + 1
        self.script("add", str(number))
        host = Host(number, self)
        self.hosts.append(host)
        try:
            yield host
        finally:
            host.stop_runner(signal.SIGKILL)
            self.hosts.remove(host)

    def forget_logs(self) -> None:
        """What was said so far, by all programs."""
        for folder in (self.folder / "server", *(host.folder for host in self.hosts)):
            os.truncate(folder / "log", 0)

    def environment(self, folder: Path) -> dict[str, str]:
        own = {"NETVPS_STATE_DIR": f"{folder}/s", "NETVPS_RUNTIME_DIR": f"{folder}/r", "HOME": str(self.folder)}
        return INHERITED | own | {"NO_COLOR": "1"}

    def netvps(self, *arguments: str, check: bool = True) -> str:
        """A command of an administrator's, on the server's own socket."""
        return _ran(*NETVPS, *arguments, check=check, timeout=120, environment=self.environment(self.folder / "server"))

    def create(self, name: str, host: Host) -> Session:
        """A session on the overlay, on this host."""
        spec = SessionSpec(image=IMAGE, network=Network.OVERLAY)
        others: list[str] = []
        with self.client() as client:
            try:
                for number in range(4 * self.count):  # what landed elsewhere makes room later
                    attempt = f"{name}-{number}"
                    if client.create_session(attempt, spec).runner_name == f"box{host.number}":
                        wait(lambda: client.get_session(attempt).state == "RUNNING", f"{attempt} runs")  # noqa: B023
                        return self.session(attempt)
                    others.append(attempt)
            finally:
                for other in others:
                    client.delete_session(other)
                wait(lambda: not {s.name for s in client.list_sessions()} & set(others), "the others are gone")
        raise AssertionError(f"no session came to host {host.number}")

    def session(self, name: str) -> Session:
        shown = self.show(name)
        host = next(host for host in self.hosts if shown["runner"] == f"runners/box{host.number}")
        pid = host.docker("inspect", "-f", "{{.State.Pid}}", f"netvps-vps-{shown['uid']}")
        return Session(name, host, shown["address"], int(pid))

    def show(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.netvps("show", name, "-o", "json"))
        return shown

    def settle(self) -> None:
        """Waits until every host with a runner is as planned."""
        for host in self.hosts:
            if host.runner:
                wait(host.settled, f"host {host.number} as planned: {host.log[-3000:]}")


def wait(condition: Callable[[], bool], what: str, seconds: float = WAIT) -> float:
    """Until it holds; returns how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def _ports() -> dict[str, int]:
    return {"api": _API, "link": _LINK, "ssh": _SSH, "http": _HTTP}


def _inside(host: Host) -> tuple[str, ...]:
    return ("nsenter", f"--net=/run/netns/{host.namespace.name}")


def _await_ready(reader: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ready = b""
    while b"\n" not in ready and (piece := os.read(reader, 4096)):
        ready += piece
    if ready and not json.loads(ready)["error"]:
        return
    process.wait(10)
    raise AssertionError(log.read_text()[-3000:])


def _ran(*command: str, check: bool = True, timeout: float = 30, environment: dict[str, str] | None = None) -> str:
    answer = subprocess.run(
        command,
        env=None if environment is None else INHERITED | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert answer.returncode == 0 or not check, f"{' '.join(command)}: {answer.stderr}"
    return answer.stdout
