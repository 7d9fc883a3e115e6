"""Calls run in threads, and leave nothing open but the transaction."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from netvps.adapters.store.dialects.sqlite import Sqlite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from netvps.adapters.store.dialects.threads import ThreadEngine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[ThreadEngine]:
    database = Sqlite(str(tmp_path / "x.db"))
    database.prepare()
    opened = database.writer()
    await opened.transaction(lambda connection: connection.execute(text("CREATE TABLE t (n INTEGER)")))
    yield opened
    await opened.dispose()


def is_locked(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "x.db", isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


async def test_a_transaction_begins_with_its_first_statement_and_ends_when_closed(
    engine: ThreadEngine, tmp_path: Path
) -> None:
    connection = engine.connect()
    await connection.start()
    locked = [is_locked(tmp_path)]
    await connection.execute(text("INSERT INTO t VALUES (1)"))
    locked.append(is_locked(tmp_path))
    await connection.close()
    assert [*locked, is_locked(tmp_path)] == [False, True, False]
    connection = engine.connect()
    assert (await connection.execute(text("SELECT n FROM t"))).all() == []
    await connection.close()


async def test_what_is_committed_stays(engine: ThreadEngine) -> None:
    connection = engine.connect()
    await connection.execute(text("INSERT INTO t VALUES (1), (2)"))
    await connection.commit()
    assert (await connection.execute(text("SELECT n FROM t ORDER BY n"))).all() == [(1,), (2,)]
    await connection.close()


async def test_a_result_is_read_to_its_end_before_it_is_returned(engine: ThreadEngine, tmp_path: Path) -> None:
    connection = engine.connect()
    result = await connection.execute(text("SELECT 1 UNION SELECT 2"))
    await connection.close()
    assert not is_locked(tmp_path)
    assert result.all() == [(1,), (2,)]


async def test_what_is_wrong_is_raised_and_the_connection_goes_on(engine: ThreadEngine) -> None:
    connection = engine.connect()
    with pytest.raises(OperationalError, match="no such table"):
        await connection.execute(text("SELECT * FROM missing"))
    assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await connection.close()


async def test_work_that_fails_is_rolled_back(engine: ThreadEngine) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        await engine.transaction(
            lambda connection: [connection.execute(text(f"INSERT INTO {table} VALUES (1)")) for table in ("t", "u")]
        )
    assert await engine.transaction(lambda connection: connection.execute(text("SELECT * FROM t")).all()) == []


async def test_statements_run_in_threads_that_end_with_the_engine(tmp_path: Path) -> None:
    engine = Sqlite(str(tmp_path / "x.db")).writer()
    ran = await engine.transaction(lambda _: threading.current_thread())
    assert ran is not threading.current_thread()
    await engine.dispose()
    ran.join(60)
    assert not ran.is_alive()


async def test_one_that_was_never_used_closes(engine: ThreadEngine) -> None:
    connection = engine.connect()
    await connection.commit()
    await connection.close()
    assert connection.sync_connection is None
