"""All of netvps on this machine, as a person has it: `netvps up` in folders and on ports of its own, and plain ssh."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.environment import INHERITED

NETVPS: Final = (sys.executable, "-c", "from netvps.cli.app import main; main()")
PORTS: Final = ("api", "link", "ssh", "http", "apps")
Answer = subprocess.CompletedProcess[bytes]


def free_ports() -> dict[str, int]:
    """Free ports, one for each listener, below those that the kernel gives to outgoing connections (32768 and more)."""
    free: list[int] = []
    while len(free) < len(PORTS):
        port = 12_000 + secrets.randbelow(20_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            free += [port] if port not in free else []
    return dict(zip(PORTS, free, strict=True))


@dataclass
class Account:
    """A person with a home folder, whose commands run there."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str | Path, check: bool = True, timeout: float = 120, **options: object) -> Answer:
        """Runs a program in this person's environment."""
        answer: Answer = subprocess.run(
            [str(word) for word in command],
            env=self.full_environment(),
            capture_output=True,
            check=False,
            timeout=timeout,
            **options,  # type: ignore[call-overload]
        )
        assert not check or answer.returncode == 0, f"{command}: {answer.stderr.decode()}"
        assert b"Traceback" not in answer.stderr, answer.stderr.decode()
        return answer

    def full_environment(self) -> dict[str, str]:
        """The environment of this person's commands."""
        return INHERITED | {"HOME": str(self.home), "NO_COLOR": "1"} | self.environment

    def netvps(self, *arguments: str | Path, check: bool = True, **options: object) -> Answer:
        """Runs `netvps`."""
        return self.run(*NETVPS, *arguments, check=check, **options)  # type: ignore[arg-type]

    def key(self) -> Path:
        """The private key that `netvps create` registers for this person."""
        file = self.home / ".ssh/id_ed25519"
        if not file.exists():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file)
        return file


class System(Account):
    """`netvps up`, and the person who started it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home")
        self.state, self.runtime = folder / "s", folder / "r"
        self.home.mkdir()
        self.ports = free_ports()
        self.environment = {
            "NETVPS_STATE_DIR": str(self.state),
            "NETVPS_RUNTIME_DIR": str(self.runtime),
            "NETVPS_OVERLAY": "false",  # several systems share this machine; the overlay is tested in hosts of its own
        }
        self.key()

    def up(self, *arguments: str, check: bool = True) -> Answer:
        """Starts it."""
        ports = [word for name, port in self.ports.items() for word in (f"--{name}-port", str(port))]
        return self.netvps("up", *ports, "--drain", "3", *arguments, check=check)

    def pid(self) -> int:
        """The process that keeps the others."""
        return int(json.loads((self.state / "up.pid").read_text())["pid"])

    def ssh_options(self, user: str, key: Path | None = None) -> list[str]:
        """Options with which any of OpenSSH's clients reaches a session through the gateway."""
        return [
            *("-F", "none", "-o", f"Port={self.ports['ssh']}", "-o", f"User={user}", "-o", "BatchMode=yes"),
            *("-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={self.home}/known_hosts"),
            *("-o", "IdentitiesOnly=yes", "-i", str(key or self.key()), "-o", "ConnectTimeout=20"),
        ]

    def ssh(self, user: str, *command: str, check: bool = True, key: Path | None = None, **options: object) -> Answer:
        """Runs a command in a session over plain ssh."""
        return self.run("ssh", *self.ssh_options(user, key), "127.0.0.1", *command, check=check, **options)  # type: ignore[arg-type]

    def traces(self) -> list[str]:
        """What there is of it on this machine: containers, images, processes, mounts."""
        node = self.runner_uid()
        containers = docker("ps", "-aq", "--filter", f"label=netvps.node={node}").split()
        images = docker("images", "-aq", "--filter", f"label=netvps.node={node}").split()
        networks = docker("network", "ls", "-q", "--filter", f"label=netvps.node={node}").split()
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.state.parent) in line]
        return containers + images + networks + mounts + list(self.processes().values())

    def processes(self) -> dict[int, str]:
        """Command lines of the programs that run on our folders, by pid."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (folder / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "netvps.programs" in line and f"NETVPS_STATE_DIR={self.state}" in environment:
                found[int(folder.name)] = line
        return found

    def runner_uid(self) -> str:
        """The uid of our runner; '' before it joined."""
        from netvps.programs.wiring.identity import load_identity

        identity = load_identity(self.state)
        return identity.uid if identity else ""

    def destroy(self) -> None:
        """Removes all of it, whatever state it is in."""
        self.netvps("down", check=False)
        node = self.runner_uid()
        for container in docker("ps", "-aq", "--filter", f"label=netvps.node={node}").split() if node else []:
            docker("rm", "-f", container)
        for image in docker("images", "-aq", "--filter", f"label=netvps.node={node}").split() if node else []:
            docker("rmi", "-f", image)
        for network in docker("network", "ls", "-q", "--filter", f"label=netvps.node={node}").split() if node else []:
            docker("network", "rm", network, check=False)
        shutil.rmtree(self.state.parent, ignore_errors=True)


def new_system() -> System:
    """One in a folder whose name is short enough for sockets."""
    return System(Path(tempfile.mkdtemp(prefix="nve-")))


def docker(*arguments: str, check: bool = True) -> str:
    """Runs docker, returns what it prints."""
    answer = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert answer.returncode == 0 or not check, answer.stderr
    return answer.stdout


def unique(prefix: str) -> str:
    """A unique name."""
    return f"{prefix}-{secrets.token_hex(3)}"
