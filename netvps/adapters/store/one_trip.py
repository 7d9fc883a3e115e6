"""aiosqlite with one trip to the connection's thread for each statement, where there are four.

In that trip the statement is run, its rows are all fetched, and its cursor is closed; the first statement of a
transaction begins it, too. Most of what a small query costs is the way there and back. And nothing stays open between
two trips: SQLite keeps even a closed connection, with its lock, for as long as one of its statements is open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Callable

_ROWS_AT_A_TIME = 64  # of aiosqlite's own cursors, which nobody uses here


class Answer(NamedTuple):
    """What a statement brought, in the words of Python's database API."""

    rows: Sequence[Any] = ()
    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None


class OneTripConnection(aiosqlite.Connection):
    """A connection for SQLAlchemy's dialect, as its `async_creator_fn` makes them."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, _ROWS_AT_A_TIME)
        self._thread.daemon = True  # as SQLAlchemy does it: one that was not closed does not keep the process
        self.begin = ""
        """What the next statement is to be preceded by: a BEGIN, or nothing."""

    def cursor(self) -> OneTripCursor:  # type: ignore[override]  # it is all that the dialect calls
        """Costs nothing."""
        return OneTripCursor(self)

    async def statement(self, method: str, sql: str, parameters: Sequence[Any]) -> Answer:
        """Runs a method of a cursor. Raises sqlite3.Error."""
        answer: Answer = await self._execute(self._statement, method, sql, parameters)  # type: ignore[no-untyped-call]
        return answer

    def _statement(self, method: str, sql: str, parameters: Sequence[Any]) -> Answer:
        if self.begin:
            self._conn.execute(self.begin)
            self.begin = ""
        with closing(self._conn.cursor()) as cursor:
            getattr(cursor, method)(sql, parameters)
            rows = cursor.fetchall() if cursor.description else []
            return Answer(rows, cursor.description, cursor.rowcount, cursor.lastrowid)


class OneTripCursor:
    """What SQLAlchemy's dialect asks of a cursor of aiosqlite."""

    def __init__(self, connection: OneTripConnection) -> None:
        self._connection = connection
        self._answer = Answer()

    def __getattr__(self, name: str) -> Any:
        """`description`, `rowcount` and `lastrowid` of the last statement."""
        return getattr(self._answer, name)

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Raises sqlite3.Error."""
        self._answer = await self._connection.statement("execute", sql, parameters)

    async def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Raises sqlite3.Error."""
        self._answer = await self._connection.statement("executemany", sql, parameters)

    async def fetchall(self) -> Sequence[Any]:
        """They are here already."""
        return self._answer.rows

    async def close(self) -> None:
        """It is."""
