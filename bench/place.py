"""Runs netvps on this machine with its own folders and ports, and removes everything afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

NETVPS: Final = str(Path(sys.executable).parent / "netvps")
_PORTS: Final = ("api", "link", "ssh", "http", "apps")
# Without byte code each command would recompile netvps, which an installed one never does.
_NOT_INHERITED: Final = ("NETVPS_", "XDG_", "PYTHONDONTWRITEBYTECODE")
_LIMIT: Final = 300.0  # seconds that any one command may take


def run(*command: str, env: dict[str, str] | None = None, data: bytes | None = None, check: bool = True) -> str:
    """Runs a program and returns its output. Raises RuntimeError with its errors if it fails."""
    answer = subprocess.run(command, env=env, input=data, capture_output=True, check=False, timeout=_LIMIT)
    if check and answer.returncode:
        raise RuntimeError(f"{' '.join(command)}: {answer.stderr.decode(errors='replace').strip()}")
    return answer.stdout.decode()


def unique(prefix: str) -> str:
    """Returns a unique name."""
    return f"{prefix}-{secrets.token_hex(3)}"


def free_ports(count: int) -> list[int]:
    """Returns free ports of 127.0.0.1."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def ssh_options(key: Path) -> list[str]:
    """Returns options for an ssh that never prompts and uses none of the user's files."""
    return [
        *("-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"),
        *("-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=20", "-i", str(key)),
    ]


class Place:
    """An isolated installation: folders, ports, a home with an ssh key, programs; removed at the end.

    `within` is a command prefix that enters a namespace, and `docker_host` the engine there.
    """

    def __init__(self, *, within: tuple[str, ...] = (), docker_host: str = "") -> None:
        self._within = within
        self.folder = Path(tempfile.mkdtemp(prefix="nvb-"))  # short: sockets are in it
        self.home = self.folder / "home"
        self.key = self.home / ".ssh/id_ed25519"
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        self.env = inherited | {
            "HOME": str(self.home),
            "NETVPS_STATE_DIR": str(self.folder / "s"),
            "NETVPS_OVERLAY": "false",  # the reference has none
            "NETVPS_RUNTIME_DIR": str(self.folder / "r"),
            "NETVPS_CALLS_PER_USER": "8192",  # one user is all of the load
            "NETVPS_WATCHES_PER_USER": "4096",
            "NETVPS_COMMANDS_PER_USER": "1024",
        }
        if docker_host:
            self.env["DOCKER_HOST"] = docker_host
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.key.parent.mkdir(parents=True, mode=0o700)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(30)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        self.netvps("down", check=False)
        self._remove_from_docker()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def state(self) -> Path:
        """The server's folder."""
        return self.folder / "s"

    @property
    def socket(self) -> str:
        """The gRPC address of the API."""
        return f"unix:{self.folder}/r/api.sock"

    @property
    def database(self) -> str:
        """URL of the server's database."""
        return f"sqlite:///{self.folder}/s/netvps.db"

    def netvps(self, *arguments: str, check: bool = True) -> str:
        """Runs `netvps` and returns its output."""
        return run(*self._within, NETVPS, *arguments, env=self.env, check=check)

    def run(self, *command: str) -> str:
        """Runs a program where this installation is, and returns its output."""
        return run(*self._within, *command, env=self.env)

    def up(self, *flags: str) -> None:
        """Starts everything."""
        self.netvps("up", "--drain", "3", *self._port_flags(), *flags)

    def serve(self) -> int:
        """Starts only a server: its sessions stay PENDING. Returns its process id."""
        log = (self.folder / "server.log").open("wb")
        with log:
            command = [NETVPS, "server", "--drain", "1", *self._port_flags()]
            self._server = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not (self.folder / "r/api.sock").exists():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not start: {(self.folder / 'server.log').read_text()}")
            time.sleep(0.05)
        return self._server.pid

    def programs(self) -> Iterator[tuple[str, int]]:
        """Lists the running programs as (name, process id)."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                module = next((word for word in words if word.startswith("netvps.programs.")), "")
                if module and f"NETVPS_STATE_DIR={self.folder}/s".encode() in (entry / "environ").read_bytes():
                    yield module.rpartition(".")[2], int(entry.name)

    def _port_flags(self) -> list[str]:
        return [word for name, port in self.ports.items() for word in (f"--{name}-port", str(port))]

    def _remove_from_docker(self) -> None:
        from netvps.programs.wiring.identity import load_identity

        identity = load_identity(self.folder / "s")
        if identity is None:
            return
        label = f"label=netvps.node={identity.uid}"
        for container in run("docker", "ps", "-aq", "--filter", label, env=self.env).split():
            run("docker", "rm", "-f", container, env=self.env, check=False)
        for image in run("docker", "images", "-aq", "--filter", label, env=self.env).split():
            run("docker", "rmi", "-f", image, env=self.env, check=False)
