"""SQLite: one file, one writer, and concurrent readers.

The file is in WAL mode, so readers never wait. Every write transaction begins with BEGIN IMMEDIATE: a deferred one
fails at once when it upgrades to writing after another process wrote, whatever the busy timeout. Commits are synced to
disk (synchronous=FULL; in WAL mode, NORMAL loses the last commits at a power failure).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import QueuePool, create_engine, event, text

from netvps.adapters.store.dialects.dialect import PATIENCE, READERS
from netvps.adapters.store.dialects.threads import ThreadEngine
from netvps.errors import ConfigError, DataLoss, Exhausted, InternalError, NetvpsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.exc import DBAPIError

_PRIMARY = 0xFF  # the low byte of an extended result code is the primary one
_LOCKED = "another program has locked it for {patience:.0f} s; try again"
_FULL = "the disk is full, nothing was changed; free space and try again"
_CLOSED = "it cannot be written ({error}); check its permissions and its file system"
# https://www.sqlite.org/rescode.html
_MEANINGS: dict[int, tuple[type[NetvpsError], str]] = {
    sqlite3.SQLITE_BUSY: (Unavailable, _LOCKED),
    sqlite3.SQLITE_LOCKED: (Unavailable, _LOCKED),
    sqlite3.SQLITE_FULL: (Exhausted, _FULL),
    sqlite3.SQLITE_IOERR_SHMSIZE: (Exhausted, _FULL),  # no space for the WAL index, created at each start
    sqlite3.SQLITE_READONLY: (ConfigError, _CLOSED),
    sqlite3.SQLITE_CANTOPEN: (ConfigError, _CLOSED),
    sqlite3.SQLITE_PERM: (ConfigError, _CLOSED),
    sqlite3.SQLITE_NOTADB: (ConfigError, "that file is not a database; give another path, or move it away"),
    sqlite3.SQLITE_CORRUPT: (DataLoss, "it is damaged ({error}); stop the server and restore a backup"),
    sqlite3.SQLITE_IOERR: (Unavailable, "the disk failed ({error}); see the kernel's log, then try again"),
}


class Sqlite:
    """A database file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()

    now = text("SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000")

    @property
    def place(self) -> str:
        """The path, for messages."""
        return f"database {self._path}"

    @property
    def path(self) -> Path:
        """The path."""
        return self._path

    def prepare(self) -> None:
        """Creates the directory (0700) and the file (0600) if missing. Raises NetvpsError."""
        folder = self._path.parent
        with self._mapped(f"cannot create directory {folder}"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._mapped(f"cannot write in {folder}"):
            if not os.access(folder, os.W_OK | os.X_OK):  # WAL mode creates two more files there
                raise PermissionError(errno.EACCES, "not writable for this user")
            if not self._path.exists():
                self._create(folder)
        if not self._path.is_file():
            raise ConfigError(f"{self.place} is not a file; give another path")

    def secure(self) -> None:
        """Removes group's and others' permissions from the database's files."""
        for suffix in ("", "-wal", "-shm"):
            with self._mapped("cannot set the permissions"), contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").chmod(0o600)

    def reader(self) -> ThreadEngine:
        """Creates connections that cannot write."""
        return self._engine(READERS, "BEGIN", "PRAGMA query_only=ON")

    def writer(self) -> ThreadEngine:
        """Creates the one connection that writes."""
        return self._engine(1, "BEGIN IMMEDIATE", "PRAGMA journal_mode=WAL")

    def explain(self, error: DBAPIError) -> NetvpsError:
        """Maps an error by SQLite's result code."""
        return self.mapped(error.orig)

    def mapped(self, error: BaseException | None) -> NetvpsError:
        """Maps an error of Python's sqlite3 by its result code."""
        code = getattr(error, "sqlite_errorcode", 0)
        unknown = InternalError, "the database rejected a statement; see the server's log"
        kind, sentence = _MEANINGS.get(code) or _MEANINGS.get(code & _PRIMARY, unknown)
        return kind(f"{self.place}: {sentence.format(error=error, patience=PATIENCE)}")

    def _engine(self, size: int, begin: str, pragma: str) -> ThreadEngine:
        def connect() -> sqlite3.Connection:
            # isolation_level None: otherwise Python's driver begins transactions itself, late and deferred.
            with contextlib.ExitStack() as stack:
                database = sqlite3.connect(self._path, isolation_level=None, timeout=PATIENCE, check_same_thread=False)
                stack.callback(database.close)
                for statement in ("PRAGMA foreign_keys=ON", "PRAGMA synchronous=FULL", pragma):
                    database.execute(statement).close()
                stack.pop_all()
            return database

        engine = create_engine(
            "sqlite+pysqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=0,
            hide_parameters=True,  # they contain digests of secrets, and errors are logged
        )

        @event.listens_for(engine, "begin")
        def _began(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return ThreadEngine(engine, size)

    def _create(self, folder: Path) -> None:
        """Creates an empty database in WAL mode: switching an existing one would need exclusive access."""
        handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=folder)  # mode 0600
        os.close(handle)
        try:
            with contextlib.closing(sqlite3.connect(name)) as database:
                database.execute("PRAGMA journal_mode=WAL")
            with contextlib.suppress(FileExistsError):  # another process created it
                os.link(name, self._path)
        finally:
            Path(name).unlink()

    @contextlib.contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = Exhausted if error.errno == errno.ENOSPC else ConfigError
            why = error.strerror or str(error)
            raise kind(f"{self.place}: {what} ({why}); fix that, or give another path") from error
        except sqlite3.Error as error:
            raise self.mapped(error) from error
