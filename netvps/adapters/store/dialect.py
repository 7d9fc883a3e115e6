"""The seam between the store and its databases: all that SQLite and PostgreSQL do differently, and no more."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from netvps.errors import ConfigError, InternalError, NetvpsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

READERS = 8
"""Connections to read from at a time."""
PATIENCE = 10.0
"""Seconds to wait for a connection, for a lock of another process, and for this process' turn to write."""


class Dialect(Protocol):
    """A database."""

    @property
    def place(self) -> str:
        """Where the database is, for messages: without password."""

    def prepare(self) -> None:
        """Blocking: makes what has to be there before the first connection. Raises NetvpsError."""

    def secure(self) -> None:
        """Blocking: closes the database to others, once it is known to be ours."""

    def reader(self) -> AsyncEngine:
        """An engine whose every transaction is one consistent snapshot."""

    def writer(self) -> AsyncEngine:
        """An engine whose transactions see the latest commits, once they locked the clock's row."""

    async def lock_schema(self, connection: AsyncConnection) -> None:
        """Keeps other processes from migrating, to the end of the transaction."""

    def explain(self, error: DBAPIError) -> NetvpsError:
        """What an error of the driver means for a user."""


def dialect_of(url: str) -> Dialect:
    """The dialect of "sqlite:///PATH" or "postgresql://…". Raises ConfigError."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _unknown("it has no form of a URL") from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed)
        case "postgresql":
            return _postgresql(parsed)
        case other:
            raise _unknown(f"{other!r} is no database that netvps works on")


@contextmanager
def edge(dialect: Dialect) -> Iterator[None]:
    """Maps every error of SQLAlchemy and of its drivers."""
    try:
        yield
    except DBAPIError as error:
        raise dialect.explain(error) from error
    except PoolTimeout as error:
        raise Unavailable(f"{dialect.place}: all {READERS} connections are busy; try again") from error
    except SQLAlchemyError as error:
        raise InternalError(f"{dialect.place}: the database did not take a statement; see the log") from error
    except OSError as error:  # drivers let those of the socket and of time limits through
        raise Unavailable(f"{dialect.place}: no connection to the database ({error}); is it up?") from error


def _sqlite(url: URL) -> Dialect:
    from netvps.adapters.store.sqlite import Sqlite

    if not url.database or url.database == ":memory:" or url.query or url.host:
        raise _unknown(
            "SQLite needs a file: an absolute path has four slashes, like sqlite:////var/lib/netvps/store.db"
        )
    return Sqlite(url.database)


def _postgresql(url: URL) -> Dialect:
    if find_spec("asyncpg") is None:  # an extra of the package
        raise ConfigError(
            "the database URL names PostgreSQL, whose driver is not installed: pip install 'netvps[postgresql]'"
        )
    from netvps.adapters.store.postgresql import Postgresql

    return Postgresql(url)


def _unknown(why: str) -> ConfigError:
    # The URL itself may carry a password.
    return ConfigError(f"the database URL is not usable, {why}: give sqlite:///PATH or postgresql://USER@HOST/NAME")
