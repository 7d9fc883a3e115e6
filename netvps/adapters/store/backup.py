"""Copies of a SQLite database: taken while it is in use, and looked at before one takes its place."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from netvps.adapters.store.dialect import PATIENCE
from netvps.adapters.store.migrate import known_schemas
from netvps.adapters.store.sqlite import Sqlite
from netvps.adapters.store.store import CLUSTER_ID
from netvps.adapters.store.url import dialect_of
from netvps.errors import ConfigError, DataLoss


def database_file(url: str) -> Path:
    """The file of "sqlite:///PATH". Raises ConfigError for PostgreSQL, with what to do instead."""
    dialect = dialect_of(url)
    if not isinstance(dialect, Sqlite):
        raise ConfigError(
            "the database is PostgreSQL, which has better means of its own: pg_dump --format=custom and pg_restore,"
            " and with them a copy of the folder 'ca' in the state folder",
            reason="NOT_SQLITE",
        )
    return dialect.path


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy (the online backup API): what is committed when it begins. Writers are not held up.

    Raises ConfigError if there is no database, Unavailable or DataLoss if it cannot be read, Exhausted if the disk is
    full.
    """
    if not source.is_file():
        raise ConfigError(f"there is no database {source}: name the server's state folder with --state-dir")
    with _errors(source), _opened(source, "mode=rw") as database, contextlib.closing(sqlite3.connect(target)) as copy:
        database.backup(copy)  # all pages at once: in WAL mode a reader holds up nobody


def schema_of(file: Path) -> str:
    """The schema of a database. Raises DataLoss if it is damaged, ConfigError if it is not one of ours."""
    with _errors(file), _opened(file, "mode=ro&immutable=1") as database:
        try:
            found = database.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            found = None
    if found is None:
        raise ConfigError(f"{file} is no database of netvps: give another file")
    return str(found[0])


def check_database(file: Path) -> None:
    """Reads all of it. Raises DataLoss if it is damaged, ConfigError if it is newer than this program."""
    schema = schema_of(file)
    if schema not in known_schemas():
        raise ConfigError(
            f"the backup is newer than this program: it has schema {schema}; nothing was changed. "
            "Install the netvps that made it, or a later one",
            reason="NEWER",
        )
    with _errors(file), _opened(file, "mode=ro&immutable=1") as database:
        ((said, *_), *_) = database.execute("PRAGMA integrity_check(1)").fetchall()
    if said != "ok":
        raise DataLoss(f"the database in the backup is damaged ({said}): use another backup")


def cluster_of(file: Path) -> str:
    """The id of the cluster whose database it is; '' if it has none yet. Raises DataLoss if it is damaged."""
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
