"""A newcomer types what README and guides print: as root, as a member of `docker`, on a second machine.

Beside the ports, the image and the yes to a question, every word is as printed. ssh reads the home folder of an account
by itself: root has another /root/.ssh here, and the member of `docker` is a real account that is removed afterwards.
"""

from __future__ import annotations

import grp
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.system import free_ports
from tests.project.doc_pages import run_lines
from tests.support.environment import INHERITED
from tests.support.namespaces import namespace

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.netns]

ROOT = Path(__file__).parents[3]
IMAGE = "netvps/debian:latest"
_SIZE = re.compile(r"(--memory|--shm-size) \d+G")
_REMOVE_ALL = "for name in $(netvps ls -a -o name); do netvps rm $name --yes; done"
_ENDLESS = ("netvps watch", "netvps forward")
_SERVER, _CLIENT = "198.18.77.1", "198.18.77.2"
"""The two ends of a cable (RFC 2544)."""


@dataclass(frozen=True)
class Newcomer:
    """A person at a shell."""

    shell: tuple[str, ...]
    """What makes a shell of theirs, which reads a script."""
    variables: dict[str, str]
    ports: dict[str, int]

    def type(self, lines: Sequence[str], folder: Path, timeout: float = 600) -> str:
        """Types these lines, one after the other; the first that fails ends it. Returns what was printed."""
        exports = [f"export {name}={value}" for name, value in self.variables.items()]
        typed = [f"cd {folder}", "set -e", *exports, *(self._here(line) for line in lines)]
        answer = subprocess.run(
            self.shell,
            input="\n".join(typed).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=timeout,
            env=INHERITED,
        )
        printed = answer.stdout.decode(errors="replace")
        assert answer.returncode == 0, f"{typed}:\n{printed}"
        assert "Traceback" not in printed
        return printed

    def _here(self, line: str) -> str:
        """A line with what differs here: ports, the image, and the answer to a question."""
        line = line.replace("2222", str(self.ports["ssh"])).replace("debian:12", IMAGE)
        if line.startswith("netvps rm "):
            line += " --yes"
        redirected = "<" in line
        return f"echo '$ {line}' && {line}{'' if redirected else ' </dev/null'}"


def _variables(ports: dict[str, int]) -> dict[str, str]:
    found = {f"NETVPS_{name.upper()}_PORT": str(port) for name, port in ports.items()}
    return found | {"NETVPS_OVERLAY": "false", "NO_COLOR": "1"}


def _lines(document: str) -> list[str]:
    """What is typed, on a machine that may be small."""
    lines = [line.split("  #")[0].strip() for line in run_lines(document)]
    lines = [line for line in lines if not line.startswith(("scripts/test", *_ENDLESS))]
    return [_SIZE.sub(r"\1 256M", line) for line in lines]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """With a short name: a socket's path has to fit in 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="nvn-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def root(folder: Path) -> Iterator[Newcomer]:
    """Root, after `scripts/up`."""
    ports, keys = free_ports(), folder / "ssh"
    keys.mkdir(mode=0o700)
    ssh = f"mkdir -p /root/.ssh; mount --bind {keys} /root/.ssh; exec bash"
    places = {
        "NETVPS_PREFIX": str(folder / "p"),
        "NETVPS_STATE_DIR": str(folder / "s"),
        "NETVPS_RUNTIME_DIR": str(folder / "r"),
        "NETVPS_CONFIG_DIR": str(folder / "c"),
        "PATH": f"{folder}/p/usr/local/bin:{os.environ['PATH']}",
    }
    newcomer = Newcomer(("unshare", "--mount", "bash", "-c", ssh), _variables(ports) | places, ports)
    newcomer.type(["scripts/up"], ROOT)
    typist = Newcomer(
        newcomer.shell, {name: value for name, value in newcomer.variables.items() if name != "NETVPS_PREFIX"}, ports
    )
    try:
        yield typist
    finally:
        typist.type(
            ["netvps up", "for name in $(netvps ls -a -o name); do netvps rm $name --yes; done", "netvps down"], ROOT
        )


@pytest.fixture
def member() -> Iterator[str]:
    """An account in the group docker."""
    try:
        grp.getgrnam("docker")
    except KeyError:
        pytest.skip("this machine has no group docker")
    if shutil.which("useradd") is None:
        pytest.skip("no useradd")
    name = f"nvn{secrets.token_hex(3)}"
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", "-G", "docker", name], check=True, timeout=60)
    try:
        yield name
    finally:
        subprocess.run(["userdel", "-r", "-f", name], check=False, capture_output=True, timeout=60)


def test_root_types_the_readme(root: Newcomer) -> None:
    lines = [line for line in _lines("README.md") if line != "scripts/up"]
    assert len(lines) >= 5
    printed = root.type(lines, ROOT)
    assert "dev2" in printed


def test_root_types_the_quick_start(root: Newcomer, folder: Path) -> None:
    (folder / "file").write_text("a file")
    root.type(["netvps up"], ROOT)
    root.type([*_first_machine("docs/quickstart.md"), "netvps rm web", "netvps rm train"], folder)


def _first_machine(document: str) -> list[str]:
    lines = [line for line in _lines(document) if line != "scripts/up"]
    return lines[: next(index for index, line in enumerate(lines) if line.startswith("netvps up"))]


def test_a_member_of_docker_types_the_readme(member: str) -> None:
    """With the login shell that they have, and with what cron gives them."""
    ports = free_ports()
    home = Path("/home", member)
    person = Newcomer(("su", "-", member), _variables(ports), ports)
    try:
        lines = _lines("README.md")
        person.type(lines[:1], ROOT)
        person.type([line for line in lines[1:] if line != "netvps down"], ROOT)  # the PATH is that of the next login
        assert (home / ".local/bin/netvps").is_symlink()
        cron = ["env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin", f"{home}/.local/bin/netvps", "ls"]
        listed = subprocess.run(["setpriv", f"--reuid={member}", f"--regid={member}", "--init-groups", *cron],
                                capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
        assert listed.returncode == 0, listed.stderr
        assert "dev1" in listed.stdout
    finally:
        person.type(["netvps up", _REMOVE_ALL, "netvps down"], ROOT)


def test_a_second_machine_logs_in_and_has_a_session_of_its_own(root: Newcomer, folder: Path) -> None:
    (up, *laptop) = run_lines("docs/remote.md")
    (folder / "laptop").mkdir()
    (folder / "laptop/file").write_text("a file")
    key = folder / "key"
    root.type([up, "netvps user add bob", f"netvps user api-key bob >{key}"], ROOT)
    api = f"{_SERVER}:{root.ports['api']}"
    end = next(index for index, line in enumerate(laptop) if line.startswith("netvps up"))
    typed = [f"netvps login {api} --yes <{key}" if line == "netvps login HOST" else line.replace("HOST", _SERVER)
             for line in laptop[:end]]  # fmt: skip
    with namespace("nvn") as there:
        subprocess.run(["ip", "link", "add", "nvn0", "type", "veth", "peer", "eth0", "netns", there.name], check=True)
        try:
            for command in (["address", "add", f"{_SERVER}/30", "dev", "nvn0"], ["link", "set", "nvn0", "up"]):
                subprocess.run(["ip", *command], check=True)
            there.ip("address", "add", f"{_CLIENT}/30", "dev", "eth0")
            there.ip("link", "set", "eth0", "up")
            home = folder / "laptop"
            (home / "ssh").mkdir(mode=0o700)
            shell = f"mount --bind {home}/ssh /root/.ssh; exec bash"
            variables = {
                "NETVPS_CONFIG_DIR": f"{home}/c",
                "NETVPS_SOCKET": f"{home}/none.sock",
                "PATH": root.variables["PATH"],
            }
            inside = ("nsenter", f"--net=/run/netns/{there.name}", "unshare", "--mount", "bash", "-c", shell)
            Newcomer(inside, variables, root.ports).type([*typed, "netvps rm dev"], home)
        finally:
            subprocess.run(["ip", "link", "delete", "nvn0"], check=False, capture_output=True)
