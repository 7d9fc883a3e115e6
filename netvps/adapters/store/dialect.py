"""The seam between the store and its databases: all that SQLite and PostgreSQL do differently, and no more."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from netvps.errors import InternalError, NetvpsError, Unavailable

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


@contextmanager
def edge(dialect: Dialect) -> Iterator[None]:
    """Maps every error of SQLAlchemy and of its drivers."""
    try:
        yield
    except DBAPIError as error:
        raise dialect.explain(error) from error
    except SQLAlchemyError as error:
        raise InternalError(f"{dialect.place}: the database did not take a statement; see the log") from error
    except TimeoutError as error:
        raise Unavailable(f"{dialect.place}: the database takes too long to answer; try again") from error
    except OSError as error:  # drivers let those of the socket through
        raise Unavailable(f"{dialect.place}: no connection to the database ({error}); is it up?") from error
