"""Databases in a session: how each is started, written to and read, with programs of this machine."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.vps import Vps

SQLITE_PROGRAM: Final = Path("/usr/bin/sqlite3")
REDIS_PROGRAM: Final = Path("/usr/bin/redis-check-aof")
"""Of redis-tools, so that no server runs on this machine: the server is the same program under its other name."""
_WRITE: Final = "n=START\nwhile INSERT; do echo $n; n=$((n + 1)); done\n"


@dataclass(frozen=True)
class Database:
    """One, as scripts of a shell in the session. `$n` is the number to insert."""

    name: str
    make: str
    ready: str
    """Succeeds once it answers."""
    insert: str
    """Succeeds once the number is committed."""
    check: str
    """Fails if it is damaged, else prints every number."""


def _sqlite(file: str) -> Database:
    return Database(
        f"sqlite {file}",
        make=f"sqlite3 {file} 'PRAGMA journal_mode=wal; CREATE TABLE rows (n INTEGER)' >&2",
        ready="true",
        insert=f'sqlite3 {file} "PRAGMA synchronous=full; INSERT INTO rows VALUES ($n)"',
        check=f"test $(sqlite3 {file} 'PRAGMA integrity_check') = ok && sqlite3 {file} 'SELECT n FROM rows'",
    )


def _redis() -> Database:
    server = "redis-server --dir /data/redis --appendonly yes --appendfsync always --daemonize yes"
    return Database(
        "redis",
        make=f"mkdir -p /data/redis\n{_service('redis', server)}",
        ready='test "$(redis-cli ping)" = PONG',
        insert='test "$(redis-cli sadd rows $n)" = 1',
        check="redis-cli --raw smembers rows",
    )


def _postgresql(programs: Path) -> Database:
    """As a package sets it up: with a user of its own, pages with checksums, and durable defaults."""
    psql, folder = "psql -h /tmp -U postgres -X -d postgres", "/pg"
    start = f"""su postgres -c "pg_ctl -D {folder}/main -l {folder}/log -o '-k /tmp -c listen_addresses=' -w start" """
    path = f"export PATH=$PATH:{programs}\n"
    return Database(
        "postgresql",
        make=f"{path}echo postgres:x:70:70::{folder}:/bin/sh >> /etc/passwd\nmkdir {folder}\nchown 70:70 {folder}\n"
        f'su postgres -c "initdb -D {folder}/main -A trust --locale=C --data-checksums" >&2\n'
        f"{_service('postgresql', path + start)}{psql} -qc 'CREATE TABLE rows (n INTEGER)'\n",
        ready=f"{programs}/{psql} -c 'SELECT 1' >&2",
        insert=f'{programs}/{psql} -qc "INSERT INTO rows VALUES ($n)"',
        check=f"{programs}/{psql} -Atc 'SELECT n FROM rows'",
    )


def _service(name: str, command: str) -> str:
    """Starts it, and wherever the session starts."""
    file = f"/etc/netvps/start.d/{name}"
    lines = ("mkdir -p /etc/netvps/start.d", f"cat > {file} <<'END'", "#!/bin/sh", command, "END", f"chmod +x {file}")
    return "\n".join((*lines, f"{file} >&2", ""))


def _programs_of_postgresql() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return (found[-1] if found else Path(shutil.which("initdb") or "/none/initdb")).parent


PROGRAMS: Final = _programs_of_postgresql()
"""The folder of PostgreSQL's."""
DATABASES: Final = (_sqlite("/data/db"), _sqlite("/root/db"), _redis(), _postgresql(PROGRAMS))
"""In the image's volume, and in the container's own layer."""


def missing_programs() -> list[str]:
    """Those of the databases that this machine lacks."""
    wanted = (SQLITE_PROGRAM, REDIS_PROGRAM, PROGRAMS / "postgres", PROGRAMS / "pg_config")
    return [str(program) for program in wanted if not program.exists()]


def files_of_databases() -> Iterator[tuple[Path, str]]:
    """Files of this machine that an image needs for them, and their paths in it."""
    for program in (SQLITE_PROGRAM, Path("/usr/bin/redis-cli")):
        yield program, str(program)
    yield REDIS_PROGRAM, "/usr/bin/redis-server"
    libraries, shared = (Path(_config(f"--{kind}")) for kind in ("pkglibdir", "sharedir"))
    yield shared, str(shared)
    own = [PROGRAMS / name for name in ("initdb", "pg_ctl", "postgres", "psql")]
    for file in (*own, libraries / "plpgsql.so", libraries / "dict_snowball.so"):
        yield file, str(file)


def _config(kind: str) -> str:
    words = [str(PROGRAMS / "pg_config"), kind]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


class Writer:
    """Inserts numbers into a database in a session; each is acknowledged to the machine once it is committed."""

    def __init__(self, vps: Vps, database: Database, start: int) -> None:
        """Returns after twenty."""
        script = _WRITE.replace("START", str(start)).replace("INSERT", f"{database.insert} >&2")
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


def run(vps: Vps, script: str) -> str:
    """What a script prints in a session."""
    return vps.system.ssh(vps.name, "sh -e", input=script.encode()).stdout.decode()


def numbers(vps: Vps, database: Database) -> set[int]:
    """All that are in it, once it answers."""
    return set(map(int, run(vps, f"until {database.ready}; do sleep 0.1; done\n{database.check}\n").split()))
