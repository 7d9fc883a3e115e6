"""A PostgreSQL cluster of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cluster:
    """A PostgreSQL server on a Unix socket, run as `postgres` where we are root: it refuses to run as root."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self.folder = folder
        self.user = "postgres" if os.geteuid() == 0 else None

    def start(self) -> None:
        if self.user:
            shutil.chown(self.folder, self.user, self.user)
        data = str(self.folder / "data")
        self._run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--locale=C.UTF-8")
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off -c max_connections=200"
        self._run("pg_ctl", "-D", data, "-o", options, "-l", str(self.folder / "server.log"), "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def create_database(self) -> str:
        name = f"netvps_{uuid4().hex[:12]}"
        self._run("createdb", "-h", str(self.folder), "-U", "postgres", name)
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def _run(self, program: str, *args: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *args],
            user=self.user,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # not a pipe: the server would keep it open
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{program} {args} failed; see {self.folder}/server.log"


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster, gone afterwards; skips the test where there are no programs for one."""
    pytest.importorskip("asyncpg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    if not found and not on_path:
        pytest.skip("PostgreSQL's programs are not installed")
    programs = found[-1] if found else Path(on_path or "")
    with tempfile.TemporaryDirectory(prefix="netvps-pg-") as folder:
        server = Cluster(programs.parent, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
