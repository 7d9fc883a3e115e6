"""Copies a SQLite database while it is in use, and checks a copy before it replaces the database."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from netvps.adapters.store.dialects.dialect import PATIENCE
from netvps.adapters.store.dialects.sqlite import Sqlite
from netvps.adapters.store.dialects.url import dialect_of
from netvps.adapters.store.migrate import known_schemas
from netvps.adapters.store.store import CLUSTER_ID
from netvps.errors import ConfigError, DataLoss


def database_file(url: str) -> Path:
    """Returns the file of "sqlite:///PATH". Raises ConfigError for PostgreSQL, with the alternative."""
    dialect = dialect_of(url)
    if not isinstance(dialect, Sqlite):
        raise ConfigError(
            "the database is PostgreSQL: use its own tools, pg_dump --format=custom and pg_restore, and back up the "
            "folder"
            " 'ca' of the state folder together with it",
            reason="NOT_SQLITE",
        )
    return dialect.path


def copy_database(source: Path, target: Path) -> None:
    """Makes a consistent copy of what is committed when it begins (online backup API), without delaying writers.

    Raises ConfigError if there is no database, Unavailable or DataLoss if it cannot be read, Exhausted if the disk is
    full.
    """
    if not source.is_file():
        raise ConfigError(f"there is no database {source}; give the server's state folder (--state-dir)")
    with _errors(source), _opened(source, "mode=rw") as database, contextlib.closing(sqlite3.connect(target)) as copy:
        database.backup(copy)  # all pages at once: in WAL mode a reader delays no writer


def schema_of(file: Path) -> str:
    """Returns the schema revision of a database. Raises DataLoss if it is damaged, ConfigError if it is not netvps'."""
    with _errors(file), _opened(file, "mode=ro&immutable=1") as database:
        try:
            found = database.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            found = None
    if found is None:
        raise ConfigError(f"{file} is not a netvps database; give another file")
    return str(found[0])


def check_database(file: Path) -> None:
    """Verifies the whole file. Raises DataLoss if it is damaged, ConfigError if it is newer than this program."""
    schema = schema_of(file)
    if schema not in known_schemas():
        raise ConfigError(
            f"the backup is newer than this program: it has schema {schema}; nothing was changed. "
            "Install the netvps that made it, or a later one",
            reason="NEWER",
        )
    with _errors(file), _opened(file, "mode=ro&immutable=1") as database:
        ((result, *_), *_) = database.execute("PRAGMA integrity_check(1)").fetchall()
    if result != "ok":
        raise DataLoss(f"the database in the backup is damaged ({result}); use another backup")


def cluster_of(file: Path) -> str:
    """Returns the id of the database's cluster; '' if it has none yet. Raises DataLoss if it is damaged."""
    with _errors(file), _opened(file, "mode=ro&immutable=1") as database:
        found = database.execute("SELECT value FROM meta WHERE key = ?", (CLUSTER_ID,)).fetchone()
    return str(found[0]) if found else ""


@contextlib.contextmanager
def _opened(file: Path, options: str) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?{options}", uri=True, timeout=PATIENCE)) as it:
        yield it


@contextlib.contextmanager
def _errors(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Sqlite(str(file)).mapped(error) from error
