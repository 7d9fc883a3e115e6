"""Connections whose statements are never interrupted.

A call may be cancelled at any time: its client disconnects, its deadline passes. If a SELECT is cancelled midway,
Python's SQLite driver keeps the statement open, and SQLite keeps a closed connection and its lock alive while one of
its statements is open: no process can write until the garbage collector finds the cursor. PostgreSQL's driver drops the
whole connection. So every started statement is awaited, and the cancellation takes effect after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar, cast

from netvps.adapters.store.dialects.dialect import PATIENCE, edge
from netvps.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from sqlalchemy import CursorResult, Executable, Result

    from netvps.adapters.store.dialects.dialect import Dialect, Engine, OpenConnection

T = TypeVar("T")


class Connection:
    """An open transaction."""

    def __init__(self, connection: OpenConnection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    async def run(self, statement: Executable) -> Result[Any]:
        """Runs a statement and fetches all rows. Raises NetvpsError."""
        with edge(self._dialect):
            return await unbroken(self._connection.execute(statement))

    async def change(self, statement: Executable) -> int:
        """Runs a statement; returns how many rows it changed. Raises NetvpsError."""
        return cast("CursorResult[Any]", await self.run(statement)).rowcount

    async def micros(self) -> int:
        """The database's time, in microseconds since 1970. Raises NetvpsError."""
        micros: int = (await self.run(self._dialect.now)).scalar_one()
        return micros

    async def commit(self) -> None:
        """Commits. Raises NetvpsError; the transaction may then have been committed or not."""
        with edge(self._dialect):
            await unbroken(self._connection.commit())


class Connections:
    """The connections of an engine; callers wait for one in order, without using a thread."""

    def __init__(self, engine: Engine, dialect: Dialect, count: int, busy: str) -> None:
        """`busy` is the error's text after waiting in vain."""
        self.engine = engine
        self._dialect = dialect
        self._turns = asyncio.Semaphore(count)
        self._busy = busy
        self.waiting = 0
        """Number of waiting callers."""

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        """Provides a connection; rolls back at the end what was not committed. Raises NetvpsError."""
        async with self._turn():
            connection = self.engine.connect()
            try:
                with edge(self._dialect):
                    await unbroken(connection.start())
                yield Connection(connection, self._dialect)
            finally:
                if connection.sync_connection is not None:  # it was started
                    with edge(self._dialect):
                        await unbroken(connection.close())

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        self.waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable(f"{self._dialect.place}: {self._busy}; try again") from None
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._turns.release()


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work` to its end, even if the caller is cancelled meanwhile; then raises the cancellation."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):  # the first cancellation is re-raised below
                await asyncio.wait((task,))
        raise
