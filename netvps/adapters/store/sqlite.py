"""SQLite: one file, one writer, readers beside it.

The file is in WAL mode, so readers never wait. Every write transaction begins with BEGIN IMMEDIATE: one that began as a
reader and then wants to write would fail at once, whatever the busy timeout, if another wrote in between. A commit is
synced to the disk (synchronous=FULL; in WAL mode NORMAL loses the last commits when the power fails).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from netvps.adapters.store.dialect import PATIENCE, READERS
from netvps.adapters.store.one_trip import OneTripConnection
from netvps.errors import ConfigError, DataLoss, Exhausted, InternalError, NetvpsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncConnection

_PRIMARY = 0xFF  # an extended result code has the primary one in its low byte
_LOCKED = "another program has had it locked for {patience:.0f} s; try again"
_FULL = "the disk is full, nothing was changed; free some space and try again"
_CLOSED = "it cannot be written ({error}); check its permissions and its file system"
# https://www.sqlite.org/rescode.html
_MEANINGS: dict[int, tuple[type[NetvpsError], str]] = {
    sqlite3.SQLITE_BUSY: (Unavailable, _LOCKED),
    sqlite3.SQLITE_LOCKED: (Unavailable, _LOCKED),
    sqlite3.SQLITE_FULL: (Exhausted, _FULL),
    sqlite3.SQLITE_IOERR_SHMSIZE: (Exhausted, _FULL),  # no room for the log's index, which is made at each start
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

    @property
    def place(self) -> str:
        """The path of the file."""
        return f"database {self._path}"

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def prepare(self) -> None:
        """Makes the directory (0700) and the file (0600), unless they are there. Raises NetvpsError."""
        folder = self._path.parent
        with self._mapped(f"cannot make directory {folder}"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._mapped(f"cannot write in {folder}"):
            if not os.access(folder, os.W_OK | os.X_OK):  # the log and the index of WAL mode are made beside the file
                raise PermissionError(errno.EACCES, "not writable for this user")
            if not self._path.exists():
                self._create(folder)
        if not self._path.is_file():
            raise ConfigError(f"{self.place} is not a file; give another path")

    def secure(self) -> None:
        """Takes the file's and its companions' permissions from group and others."""
        for suffix in ("", "-wal", "-shm"):
            with self._mapped("cannot set the permissions"), contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").chmod(0o600)

    def reader(self) -> AsyncEngine:
        """Connections that cannot write."""
        return self._engine(READERS, "BEGIN", "PRAGMA query_only=ON")

    def writer(self) -> AsyncEngine:
        """One connection."""
        return self._engine(1, "BEGIN IMMEDIATE", "PRAGMA journal_mode=WAL")

    async def lock_schema(self, connection: AsyncConnection) -> None:
        """BEGIN IMMEDIATE has locked everything."""

    def explain(self, error: DBAPIError) -> NetvpsError:
        """By SQLite's result code."""
        return self.mapped(error.orig)

    def mapped(self, error: BaseException | None) -> NetvpsError:
        """What an error of Python's sqlite3 means to a person, by SQLite's result code."""
        code = getattr(error, "sqlite_errorcode", 0)
        unknown = InternalError, "the database did not take a statement; see the log"
        kind, sentence = _MEANINGS.get(code) or _MEANINGS.get(code & _PRIMARY, unknown)
        return kind(f"{self.place}: {sentence.format(error=error, patience=PATIENCE)}")

    def _engine(self, size: int, begin: str, pragma: str) -> AsyncEngine:
        def connect() -> sqlite3.Connection:
            # Python's driver would begin by itself, late and deferred: None leaves it to us.
            with contextlib.ExitStack() as stack:
                database = sqlite3.connect(self._path, isolation_level=None, timeout=PATIENCE)
                stack.callback(database.close)
                for statement in ("PRAGMA foreign_keys=ON", "PRAGMA synchronous=FULL", pragma):
                    database.execute(statement).close()
                stack.pop_all()
            return database

        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(self._path)),
            pool_size=size,
            max_overflow=0,
            hide_parameters=True,  # they have secrets' digests in them, and messages get logged
            connect_args={"async_creator_fn": lambda *_, **__: OneTripConnection(connect)},
        )

        @event.listens_for(engine.sync_engine, "begin")
        def _began(connection: Connection) -> None:
            driver: Any = connection.connection.driver_connection
            driver.begin = begin

        return engine

    def _create(self, folder: Path) -> None:
        """Makes an empty database that is in WAL mode from birth: switching later would need it without other users."""
        handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=folder)  # mode 0600
        os.close(handle)
        try:
            with contextlib.closing(sqlite3.connect(name)) as database:
                database.execute("PRAGMA journal_mode=WAL")
            with contextlib.suppress(FileExistsError):  # another process was first
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
            raise kind(f"{self.place}: {what} ({why}); correct that, or give another path") from error
        except sqlite3.Error as error:
            raise self.mapped(error) from error
