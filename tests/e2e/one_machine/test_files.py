"""The files of a session are what they were after stops, kills and prunes; what a database acknowledged stays."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import tarfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import pytest

from netvps.domain.runner.docker_names import container_name
from tests.e2e.system import System, docker, unique
from tests.support.images import busybox_archive, import_image
from tests.support.manifest import manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

SQLITE: Final = Path("/usr/bin/sqlite3")
NO_ID: Final = 0xFFFFFFFF
ACL: Final = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, NO_ID), (2, 6, 4321), (4, 4, NO_ID), (16, 6, NO_ID), (32, 4, NO_ID))
)
CAPABILITY: Final = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service=ep (linux/capability.h)."""
INSIDE: Final = r"""
mkdir -p /data/tree /root/tree
mv /old /root/tree/renamed
rm /data/seed
for folder in /data/tree /root/tree; do
    cd $folder
    echo one > a && ln a b && ln -s /nowhere link
    mkfifo pipe
    mkdir -p sticky/deep && chmod 3771 sticky && chown 7:8 sticky
    echo plan > plan && echo notes > .wh.plan && : > .wh..wh..opq
    truncate -s 4T hole && echo end >> hole
    echo x > 'two
lines' && echo x > ' space and \ ' && echo x > ./-rf && echo x > "$(printf 'bytes\377\376')"
    echo x > $(printf '%0255d' 7)
    chmod 4711 a
    touch -d '2001-02-03 04:05:06' b
done
"""


@pytest.fixture(scope="module")
def archive() -> bytes:
    """Busybox, sqlite3 with its libraries, a folder to rename, and a volume with a file of the image in it."""
    libraries = subprocess.run(["ldd", SQLITE], capture_output=True, text=True, check=True, timeout=20).stdout
    files = [SQLITE, *(Path(word) for word in libraries.split() if word.startswith("/"))]
    buffer = io.BytesIO(busybox_archive())
    with tarfile.open(fileobj=buffer, mode="a", dereference=True) as made:
        for file in files:
            made.add(file, str(file).removeprefix("/"))
        for name in ("old/deep/file", "data/seed"):
            made.addfile(tarfile.TarInfo(name), io.BytesIO())
    return buffer.getvalue()


@pytest.fixture
def image(archive: bytes) -> Iterator[str]:
    """An image for one test, which removes it."""
    name = unique("nve-sqlite") + ":latest"
    import_image(archive, name, changes=('VOLUME ["/data"]', f"LABEL {name}=1"))
    yield name
    docker("rmi", "-f", name, check=False)


class Vps:
    """A session, looked at from its machine."""

    def __init__(self, system: System, image: str) -> None:
        self.system, self.image, self.name = system, image, unique("s")
        system.netvps("create", self.name, "--image", image)
        self.uid = str(self.shown()["uid"])

    def shown(self) -> dict[str, object]:
        shown: dict[str, object] = json.loads(self.system.netvps("show", self.name, "-o", "json").stdout)
        return shown

    def inside(self) -> Path:
        pid = docker("inspect", "-f", "{{.State.Pid}}", container_name(self.uid)).strip()
        return Path("/proc", pid, "root")

    def manifests(self) -> dict[str, object]:
        return {folder: manifest(self.inside() / folder) for folder in ("data/tree", "root/tree")}

    def stop(self) -> None:
        """Stops it; returns when its files are copied."""
        self.system.netvps("stop", self.name)
        deadline = time.monotonic() + 60
        while self.shown().get("reason") == "snapshot_pending":
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def start(self) -> None:
        self.system.netvps("start", self.name)

    def prune(self) -> None:
        """What `docker system prune -af --volumes` does, to what is of this session."""
        own = f"label=netvps.session_id={self.uid}"
        docker("container", "prune", "-f", "--filter", own)
        docker("volume", "prune", "-f", "--filter", own)
        docker("image", "prune", "-af", "--filter", own)
        docker("image", "prune", "-af", "--filter", f"label={self.image}")


@pytest.fixture
def vps(system: System, image: str) -> Iterator[Vps]:
    made = Vps(system, image)
    yield made
    system.netvps("rm", "--yes", made.name, check=False)


def _add_what_busybox_cannot(tree: Path) -> None:
    for name, value in (("user.origin", b"lab7"), ("system.posix_acl_access", ACL)):
        os.setxattr(tree / "plan", name, value)
    os.setxattr(tree / "sticky", "system.posix_acl_default", ACL)
    os.setxattr(tree / "plan", "security.capability", CAPABILITY)
    os.mknod(tree / "null", stat.S_IFCHR | 0o620, os.makedev(1, 3))
    os.utime(tree / "plan", ns=(1, 987_654_321_123_456_789))
    os.utime(tree / "link", ns=(1, 123_456_789), follow_symlinks=False)


def test_every_file_is_what_it_was(system: System, vps: Vps) -> None:
    """After stops and starts, a kill of all of netvps in between, and a prune of everything."""
    system.ssh(vps.name, INSIDE)
    for folder in ("data/tree", "root/tree"):
        _add_what_busybox_cannot(vps.inside() / folder)
    expected = vps.manifests()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(vps.inside() / "root/socket"))
    for _ in range(2):
        vps.stop()
        vps.start()
        assert vps.manifests() == expected
    assert (vps.inside() / "root/socket").is_socket()
    system.netvps("stop", vps.name)
    for pid in (system.pid(), *system.processes()):
        os.kill(pid, signal.SIGKILL)
    system.up()
    vps.stop()
    vps.prune()
    assert not docker("volume", "ls", "-q", "--filter", f"label=netvps.session_id={vps.uid}")
    vps.start()
    assert vps.manifests() == expected
    assert not (vps.inside() / "data/seed").exists()
    assert not (vps.inside() / "old").exists()
    assert not (vps.inside() / "root/socket").exists()  # the one thing that a copy leaves out


WRITER: Final = """
sqlite3 DB 'PRAGMA journal_mode=wal; CREATE TABLE IF NOT EXISTS rows (n INTEGER)' >&2
n=START
while sqlite3 DB "PRAGMA synchronous=full; INSERT INTO rows VALUES ($n)"; do echo $n; n=$((n + 1)); done
"""


class Writer:
    """Inserts numbers into a database in a session; prints each once it is committed."""

    def __init__(self, vps: Vps, database: str, start: int) -> None:
        script = WRITER.replace("DB", database).replace("START", str(start))
        self._process = subprocess.Popen(
            ["ssh", *vps.system.ssh_options(vps.name), "127.0.0.1", script],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=vps.system.full_environment(),
        )  # fmt: skip
        assert self._process.stdout is not None
        self.acknowledged = [int(self._process.stdout.readline()) for _ in range(20)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)

    def end(self) -> list[int]:
        """Returns what was acknowledged, once the session has ended."""
        rest, _ = self._process.communicate(timeout=60)
        return [*self.acknowledged, *map(int, rest[: rest.rfind("\n") + 1].split())]


DATABASES: Final = ("/data/db", "/root/db")


def test_databases_keep_every_acknowledged_write(vps: Vps) -> None:
    """After a stop, after a kill of the container, and after a prune of everything."""
    acknowledged: dict[str, set[int]] = {database: set() for database in DATABASES}

    def write_while(start: int, end: Callable[[], object]) -> None:
        with ExitStack() as stack:
            writers = [stack.enter_context(Writer(vps, database, start)) for database in DATABASES]
            end()
            for database, writer in zip(DATABASES, writers, strict=True):
                acknowledged[database].update(writer.end())

    def check() -> None:
        for database in DATABASES:
            answer = vps.system.ssh(vps.name, "sqlite3", database, "'PRAGMA integrity_check; SELECT n FROM rows'")
            whole, *numbers = answer.stdout.decode().split()
            assert whole == "ok"
            assert acknowledged[database] <= set(map(int, numbers))

    write_while(0, vps.stop)
    vps.start()
    check()
    write_while(1_000_000, lambda: docker("kill", container_name(vps.uid)))
    vps.start()
    check()
    vps.stop()
    vps.prune()
    vps.start()
    check()
