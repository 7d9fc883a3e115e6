"""A statement is one trip, and leaves nothing open."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, cast

import aiosqlite
import pytest
from aiosqlite import core

from netvps.adapters.store.dialects.one_trip import OneTripConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


DIGESTS = {
    "_connection_worker_thread": "17e364bc23e051c3",
    "Connection.__init__": "3aed416ac99323f1",
    "Connection.__await__": "d7354f60fe6d37b5",
    "Connection._connect": "ab38f0f6d707e197",
    "Connection._conn": "2b88b77116bfb96a",
    "Connection._execute": "11f83d6bbbe803e3",
    "Connection.stop": "837804b0d406fc1e",
    "Connection.close": "8ba49d8e608d032e",
}


def test_the_pin() -> None:
    assert aiosqlite.__version__ == "0.22.1"


@pytest.mark.parametrize("name", DIGESTS)
def test_the_inside_is_as_it_was_read(name: str) -> None:
    owner, _, attribute = name.rpartition(".")
    inside = vars(core.Connection)[attribute] if owner else vars(core)[attribute]
    source = inspect.getsource(cast("Any", inside.fget if isinstance(inside, property) else inside))
    found = hashlib.sha256(source.encode()).hexdigest()[:16]
    assert found == DIGESTS[name], f"{name} changed: read it, then see whether one_trip.py still holds"


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[OneTripConnection]:
    opened = OneTripConnection(lambda: sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0))
    await opened
    yield opened
    await opened.close()


async def run(connection: OneTripConnection, sql: str, *parameters: object) -> list[object]:
    cursor = connection.cursor()
    await cursor.execute(sql, parameters)
    return [*await cursor.fetchall(), cursor.rowcount]


async def test_rows_and_counts_are_there_at_once(connection: OneTripConnection) -> None:
    await run(connection, "CREATE TABLE t (n INTEGER PRIMARY KEY)")
    cursor = connection.cursor()
    await cursor.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    assert (cursor.rowcount, cursor.description) == (2, None)
    await cursor.execute("SELECT n FROM t")
    assert cursor.description[0][0] == "n"
    assert await cursor.fetchall() == [(1,), (2,)]
    await cursor.close()
    assert cursor.description[0][0] == "n"  # SQLAlchemy asks for it later
    assert await run(connection, "UPDATE t SET n = n + 2 WHERE n > ?", 1) == [1]


async def test_a_transaction_begins_with_its_first_statement(connection: OneTripConnection, tmp_path: Path) -> None:
    await run(connection, "CREATE TABLE t (n)")
    connection.begin = "BEGIN IMMEDIATE"
    states = [connection.in_transaction]
    await run(connection, "SELECT 1")
    states.append(connection.in_transaction)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    await connection.rollback()
    await run(connection, "SELECT 1")
    assert [*states, connection.in_transaction] == [False, True, False]  # it began once
    other.close()


async def test_a_closed_connection_holds_no_lock_whatever_was_not_read(
    connection: OneTripConnection, tmp_path: Path
) -> None:
    """aiosqlite's own cursors would: a SELECT of which not all was fetched keeps it."""
    await run(connection, "CREATE TABLE t (n)")
    connection.begin = "BEGIN IMMEDIATE"
    cursor = connection.cursor()
    await cursor.execute("SELECT 1 UNION SELECT 2")
    await connection.close()
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    other.close()
    assert await cursor.fetchall() == [(1,), (2,)]


async def test_what_is_wrong_is_raised_and_the_connection_goes_on(connection: OneTripConnection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await run(connection, "SELECT * FROM missing")
    assert await run(connection, "SELECT 1") == [(1,), -1]


async def test_statements_run_in_the_connections_one_thread_and_in_their_order(tmp_path: Path) -> None:
    ran: list[tuple[str, int]] = []

    def connect() -> sqlite3.Connection:
        database = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        database.create_function("note", 1, lambda n: ran.append((threading.current_thread().name, n)))
        return database

    connection = OneTripConnection(connect)
    await connection
    await asyncio.gather(*(run(connection, "SELECT note(?)", number) for number in range(9)))
    assert ran == [(connection._thread.name, number) for number in range(9)]
    assert connection._thread.daemon
    await connection.close()


async def test_a_closed_connection_refuses_statements_and_its_thread_ends(connection: OneTripConnection) -> None:
    await connection.close()
    with pytest.raises(ValueError, match="Connection closed"):
        await run(connection, "SELECT 1")
    connection._thread.join(5)
    assert not connection._thread.is_alive()
    await connection.close()  # again is fine


async def test_a_connection_that_cannot_be_opened_says_why_and_leaves_no_thread(tmp_path: Path) -> None:
    opened = OneTripConnection(lambda: sqlite3.connect(tmp_path / "missing" / "x.db"))
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await opened
    opened._thread.join(5)
    assert not opened._thread.is_alive()
