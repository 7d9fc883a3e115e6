"""Programs and libraries that people use over ssh, at a session: each as its own users have it."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netvps.process.account import user_name
from tests.conftest import FULL
from tests.e2e.documents.printed import plain_ssh
from tests.e2e.system import System, docker, free_ports, unique
from tests.support.container_base import python_archive
from tests.support.environment import INHERITED
from tests.support.images import import_image

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

OWN = f"tools.{user_name()}.nv.internal"
BOTH = pytest.mark.parametrize("host", ["tools.netvps", OWN])
SOURCES = Path(__file__).with_name("libraries")


@pytest.fixture(scope="module")
def system(ui_system: System) -> Iterator[System]:
    """Its session "tools" has Python, git and rsync, besides busybox."""
    image = unique("nve-tools") + ":latest"
    import_image(python_archive("git", "git-upload-pack", "git-receive-pack", "rsync"), image)
    try:
        ui_system.netvps("create", "tools", "--image", image)
        ui_system.netvps("config-ssh")
        yield ui_system
        ui_system.netvps("rm", "--yes", "tools")
    finally:
        docker("rmi", "-f", image, check=False)


@pytest.fixture(scope="module")
def go_client(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with the agent's versions of its libraries, so that most of it is compiled already."""
    program = tmp_path_factory.mktemp("go") / "client"
    go = shutil.which("go") or "/usr/local/go/bin/go"
    build = [go, "build", "-trimpath", "-o", str(program), str(SOURCES / "client.go")]
    subprocess.run(build, cwd=root / "tunnel", env=INHERITED | {"CGO_ENABLED": "0"}, check=True, timeout=600)
    return program


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of a size that no buffer divides."""
    made = tmp_path / "sent"
    made.write_bytes(os.urandom((1 << 20) + 7))
    return made


def _ssh(system: System) -> list[str]:
    return ["ssh", *map(str, plain_ssh(system))]


@contextmanager
def _variable(system: System, name: str, value: str) -> Iterator[None]:
    system.environment[name] = value
    try:
        yield
    finally:
        del system.environment[name]


def _gateway_key(system: System) -> list[str]:
    """Type and text of the gateway's host key."""
    return (system.home / ".ssh/netvps/known_hosts").read_text().splitlines()[0].split()[1:3]


def test_a_library_in_go(system: System, go_client: Path, file: Path) -> None:
    address = f"127.0.0.1:{system.ports['ssh']}"
    system.run(go_client, address, "dev1", system.home / "ui-key", " ".join(_gateway_key(system)), file)


def test_a_library_in_javascript(system: System, file: Path) -> None:
    key = _gateway_key(system)[1]
    argv = ("node", SOURCES / "client.js", str(system.ports["ssh"]), "dev1", system.home / "ui-key", key, file)
    with _variable(system, "NODE_PATH", str(Path(sys.prefix, "node/node_modules"))):
        system.run(*argv)


def test_a_library_in_c(system: System, file: Path) -> None:
    """libssh2, by curl."""
    key, url = system.home / "ui-key", f"sftp://dev1@127.0.0.1:{system.ports['ssh']}/~/curl"
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(_gateway_key(system)[1])).digest()).decode()
    argv = ("curl", "-sS", "--hostpubsha256", digest.rstrip("="), "--key", key, "--pubkey", f"{key}.pub")
    system.run(*argv, "-T", file, url)
    assert system.run(*argv, url).stdout == file.read_bytes()


@BOTH
def test_git(system: System, host: str, tmp_path: Path, file: Path) -> None:
    bare = unique("repository")
    author = ("-c", "user.name=n", "-c", "user.email=n@example.com")
    system.run(*_ssh(system), host, f"git init -q --bare -b main {bare}")
    with _variable(system, "GIT_SSH_COMMAND", shlex.join(_ssh(system))):
        system.run("git", "clone", "-q", f"{host}:{bare}", tmp_path / "one")
        shutil.copy(file, tmp_path / "one/file")
        system.run("git", "-C", tmp_path / "one", "add", "file")
        system.run("git", *author, "-C", tmp_path / "one", "commit", "-qm", "one")
        system.run("git", "-C", tmp_path / "one", "push", "-q", "origin", "HEAD:main")
        system.run("git", "clone", "-q", f"{host}:{bare}", tmp_path / "two")
    assert (tmp_path / "two/file").read_bytes() == file.read_bytes()


@BOTH
def test_sshfs(system: System, host: str, tmp_path: Path, file: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    argv = ["sshfs", "-f", "-o", f"ssh_command={shlex.join(_ssh(system))}", f"{host}:/root", str(place)]
    with subprocess.Popen(argv, env=system.full_environment()) as mounted:
        until = time.monotonic() + 30
        while not place.is_mount():
            assert mounted.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        try:
            shutil.copy(file, place / "first")
            (place / "first").rename(place / "second")
            os.truncate(place / "second", 1 << 20)
            assert (place / "second").read_bytes() == file.read_bytes()[: 1 << 20]
            (place / "second").unlink()
        finally:
            system.run("fusermount3", "-u", place)
        assert mounted.wait(20) == 0


@BOTH
def test_rsync_of_many_files(system: System, host: str, tmp_path: Path) -> None:
    for number in range(20_000 if FULL else 500):
        folder = tmp_path / "sent" / str(number // 100)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_text(str(number))
    rsync = ("rsync", "-a", "-e", shlex.join(_ssh(system)))
    system.run(*rsync, f"{tmp_path}/sent/", f"{host}:tree", timeout=600)
    system.run(*rsync, f"{host}:tree/", f"{tmp_path}/back", timeout=600)
    assert _tree(tmp_path / "back") == _tree(tmp_path / "sent")
    again = system.run(*rsync, "-i", f"{tmp_path}/sent/", f"{host}:tree", timeout=600)
    assert again.stdout == b""
    system.run(*_ssh(system), host, "rm -r tree")


def _tree(top: Path) -> dict[str, bytes]:
    return {str(file.relative_to(top)): file.read_bytes() for file in top.rglob("*") if file.is_file()}


@BOTH
def test_many_bytes_both_ways_at_once(system: System, host: str, tmp_path: Path) -> None:
    """1 GiB with NETVPS_FULL=1."""
    with (tmp_path / "sent").open("wb") as sent:
        for _ in range(1024 if FULL else 32):
            sent.write(os.urandom(1 << 20))
    with (tmp_path / "sent").open("rb") as given, (tmp_path / "back").open("wb") as taken:
        argv = [*_ssh(system), host, "cat"]
        subprocess.run(argv, env=system.full_environment(), stdin=given, stdout=taken, check=True, timeout=600)
    assert _digest(tmp_path / "back") == _digest(tmp_path / "sent")


def _digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - copy: {src: "{{ playbook_dir }}/sent", dest: "~/{{ inventory_hostname }}"}
      vars: {ansible_ssh_transfer_method: scp}
    - command: mv {{ inventory_hostname }} moved-{{ inventory_hostname }}
      async: 60
      poll: 1
    - fetch:
        src: "~/moved-{{ inventory_hostname }}"
        dest: "{{ playbook_dir }}/back-{{ inventory_hostname }}"
        flat: true
"""


def test_ansible(system: System, tmp_path: Path, file: Path) -> None:
    """By the session's own name as root, and by its name at the gateway, whose login config-ssh knows."""
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "hosts").write_text(f"tools.netvps\n{OWN} ansible_user=root\n")
    playbook = Path(sys.prefix, "bin/ansible-playbook")
    with _variable(system, "ANSIBLE_SSH_COMMON_ARGS", shlex.join(_ssh(system)[1:])):
        system.run(playbook, "-i", tmp_path / "hosts", tmp_path / "play.yml", timeout=300)
    for host in ("tools.netvps", OWN):
        assert (tmp_path / f"back-{host}").read_bytes() == file.read_bytes()


BACKEND = """#!/usr/bin/python3
from http.server import HTTPServer, SimpleHTTPRequestHandler
server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
print("port", server.server_port, flush=True)
server.serve_forever()
"""
START = """
setsid ./backend >backend.log 2>&1 </dev/null &
echo $! >backend.pid
until grep port backend.log; do :; done
"""


@BOTH
def test_the_steps_of_an_editor_that_uploads_its_backend(system: System, host: str) -> None:
    """JetBrains Gateway's: it asks for the machine, uploads a backend by sftp, and starts it; windows forward to it."""
    ssh = (*_ssh(system), host)
    assert system.run(*ssh, "uname -s; uname -m").stdout.startswith(b"Linux\n")
    (system.home / "backend").write_text(BACKEND)
    batch = f"put {system.home}/backend backend\nchmod 755 backend\n"
    system.run("sftp", "-b", "-", *_ssh(system)[1:], host, input=batch.encode())
    port = system.run(*ssh, START).stdout.decode().split()[1]
    try:
        for _ in range(2):
            local = str(free_ports()["http"])
            argv = [*_ssh(system), "-N", "-L", f"{local}:127.0.0.1:{port}", host]
            with subprocess.Popen(argv, env=system.full_environment(), stdin=subprocess.DEVNULL) as window:
                retry = ("--retry", "40", "--retry-delay", "0", "--retry-all-errors", "--retry-max-time", "30")
                found = system.run("curl", "-sf", *retry, f"http://127.0.0.1:{local}/backend").stdout
                window.kill()  # the link is lost
            assert found.decode() == BACKEND
    finally:
        system.run(*ssh, "kill $(cat backend.pid); rm backend*")
