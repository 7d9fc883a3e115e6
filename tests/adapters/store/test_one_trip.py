"""A statement is one trip, and leaves nothing open."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.store.one_trip import OneTripConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


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
    assert [*states, connection.in_transaction] == [False, True, False]  # it was told to begin once
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
