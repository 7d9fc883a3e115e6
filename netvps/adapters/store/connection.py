"""Connections, one at a time for each who needs one, whose statements are never left half-way.

A call may be cancelled at any moment: its client hangs up, its deadline passes. Cancelled in the middle of a SELECT,
Python's driver for SQLite keeps the statement open, and SQLite keeps a closed connection and its lock alive for as long
as a statement of it is open: until the garbage collector finds the cursor, nobody can write. PostgreSQL's driver drops
the whole connection. So whatever was begun is waited for, and cancellation comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from netvps.adapters.store.dialect import PATIENCE, Dialect, edge
from netvps.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from sqlalchemy import CursorResult, Executable
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")


class Connection:
    """An open transaction."""

    def __init__(self, connection: AsyncConnection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    async def run(self, statement: Executable) -> CursorResult[Any]:
        """Runs a statement; all its rows are there when this returns. Raises NetvpsError."""
        with edge(self._dialect):
            return await unbroken(self._connection.execute(statement))

    async def commit(self) -> None:
        """Ends the transaction well. Raises NetvpsError; then it may have been committed or not."""
        with edge(self._dialect):
            await unbroken(self._connection.commit())


class Connections:
    """The connections of an engine, given out in turn: waiting here is fair, and costs no thread."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect, count: int, busy: str) -> None:
        """`busy` is the sentence for whoever waited in vain."""
        self.engine = engine
        self._dialect = dialect
        self._turns = asyncio.Semaphore(count)
        self._busy = busy
        self.waiting = 0
        """How many wait for their turn."""

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        """A connection; at the end, what was not committed is undone. Raises NetvpsError."""
        async with self._turn():
            connection = self.engine.connect()
            try:
                with edge(self._dialect):
                    await unbroken(connection.start())
                yield Connection(connection, self._dialect)
            finally:
                if connection.sync_connection is not None:  # it did start
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
    """What `work` returns. Who is cancelled meanwhile is so once it has ended, however it ends."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):  # the first one is passed on below
                await asyncio.wait((task,))
        raise
