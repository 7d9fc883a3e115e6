"""Connections of a synchronous engine of SQLAlchemy, used from the event loop: each call is one hop to a thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine, Executable, Result

T = TypeVar("T")


class ThreadEngine:
    """As many threads as connections, so that a connection never waits for one."""

    def __init__(self, engine: Engine, size: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="store")

    def connect(self) -> ThreadConnection:
        """Creates a connection, which takes one of the database's at its first statement."""
        return ThreadConnection(self._engine, self._threads)

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one transaction."""

        def run() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def dispose(self) -> None:
        """Closes all connections, and ends the threads."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._engine.dispose)
        self._threads.shutdown(wait=False)


class ThreadConnection:
    """The part of SQLAlchemy's AsyncConnection that the store uses.

    Between two calls nothing is open in the database but the transaction. SQLite keeps even a closed connection and its
    lock alive while one of its statements is open.
    """

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor) -> None:
        self._engine = engine
        self._threads = threads
        self.sync_connection: Connection | None = None
        """The database's connection; None before the first statement."""

    async def start(self) -> ThreadConnection:
        """Does nothing: the first statement starts the transaction, in the same hop."""
        return self

    async def execute(self, statement: Executable) -> Result[Any]:
        """Runs a statement and fetches all rows. Raises SQLAlchemyError."""
        return await self._hop(self._execute, statement)

    async def commit(self) -> None:
        """Commits. Raises SQLAlchemyError."""
        if self.sync_connection is not None:
            await self._hop(self.sync_connection.commit)

    async def close(self) -> None:
        """Rolls back, and gives the database's connection back."""
        if self.sync_connection is not None:
            await self._hop(self.sync_connection.close)

    async def _hop(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _execute(self, statement: Executable) -> Result[Any]:
        if self.sync_connection is None:
            self.sync_connection = self._engine.connect()
        result = self.sync_connection.execute(statement)
        return result.freeze()() if result.returns_rows else result
