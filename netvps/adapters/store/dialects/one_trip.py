"""aiosqlite with one hop to the connection's thread per statement instead of four.

The hop runs the statement, fetches all rows and closes the cursor; for a transaction's first statement it also begins
the transaction. Most of a small query's cost is thread switching. Nothing stays open between hops: SQLite keeps even a
closed connection and its lock alive while one of its statements is open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Callable

_ROWS_AT_A_TIME = 64  # for aiosqlite's own cursors, which are not used here


class Answer(NamedTuple):
    """A statement's result, in the terms of Python's database API (PEP 249)."""

    rows: Sequence[Any] = ()
    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None


class OneTripConnection(aiosqlite.Connection):
    """A connection for SQLAlchemy's dialect, as its `async_creator_fn` makes them."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, _ROWS_AT_A_TIME)
        self._thread.daemon = True  # as SQLAlchemy does: an unclosed connection must not keep the process alive
        self.begin = ""
        """The BEGIN to run before the next statement; '' for none."""

    def cursor(self) -> OneTripCursor:  # type: ignore[override]  # it is all that the dialect calls
        """Creates a cursor, without a hop."""
        return OneTripCursor(self)

    async def statement(self, method: str, sql: str, parameters: Sequence[Any]) -> Answer:
        """Runs a cursor's method. Raises sqlite3.Error."""
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
    """The part of aiosqlite's cursor that SQLAlchemy's dialect uses."""

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
        """Returns the rows, which are fetched already."""
        return self._answer.rows

    async def close(self) -> None:
        """Does nothing: the cursor is closed already."""
