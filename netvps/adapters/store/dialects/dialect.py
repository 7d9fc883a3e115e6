"""The interface between the store and its databases: everything that SQLite and PostgreSQL do differently."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from netvps.errors import InternalError, NetvpsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Executable, Result

T = TypeVar("T")

READERS = 8
"""Number of connections for reading."""
PATIENCE = 10.0
"""Seconds to wait for a connection, for a lock of another process, and for this process' turn to write."""


class OpenConnection(Protocol):
    """The part of SQLAlchemy's AsyncConnection that the store uses. Its calls raise SQLAlchemyError."""

    @property
    def sync_connection(self) -> Connection | None:
        """None if there is nothing to close yet."""

    async def start(self) -> object:
        """Connects, unless the first statement does."""

    async def execute(self, statement: Executable, /) -> Result[Any]:
        """Runs a statement and fetches all rows."""

    async def commit(self) -> None:
        """Commits."""

    async def close(self) -> None:
        """Rolls back, and gives the database's connection back."""


class Engine(Protocol):
    """A pool of connections. Its calls raise SQLAlchemyError."""

    def connect(self) -> OpenConnection:
        """Creates a connection, not started yet."""

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one transaction. Of an engine that writes, no other process has one meanwhile."""

    async def dispose(self) -> None:
        """Closes all connections."""


class Dialect(Protocol):
    """A database."""

    @property
    def place(self) -> str:
        """The database's location for messages, without the password."""

    @property
    def now(self) -> Executable:
        """Selects the database's time, in microseconds since 1970."""

    def prepare(self) -> None:
        """Creates what the first connection needs. Blocks. Raises NetvpsError."""

    def secure(self) -> None:
        """Restricts access to the database, once it is known to be netvps'. Blocks."""

    def reader(self) -> Engine:
        """Creates an engine whose transactions are consistent snapshots."""

    def writer(self) -> Engine:
        """Creates an engine whose transactions see the latest commits once they have locked the clock's row."""

    def explain(self, error: DBAPIError) -> NetvpsError:
        """Explains a driver's error to the user."""


@contextmanager
def edge(dialect: Dialect) -> Iterator[None]:
    """Maps every error of SQLAlchemy and of its drivers."""
    try:
        yield
    except DBAPIError as error:
        raise dialect.explain(error) from error
    except SQLAlchemyError as error:
        raise InternalError(f"{dialect.place}: the database rejected a statement; see the server's log") from error
    except TimeoutError as error:
        raise Unavailable(f"{dialect.place}: the database takes too long to answer; try again") from error
    except OSError as error:  # drivers pass socket errors on
        raise Unavailable(f"{dialect.place}: cannot connect to the database ({error}); check that it runs") from error
