"""A copy is whole, whatever is written meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netvps.adapters.store import open_store
from netvps.adapters.store.backup import check_database, cluster_of, copy_database, database_file, schema_of
from netvps.domain.access.accounts import Role, User
from netvps.errors import ConfigError, DataLoss

NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    async with open_store(f"sqlite:///{tmp_path}/a.db", lambda: NOW) as store:
        await store.cluster_id()
    return tmp_path / "a.db"


def test_an_unused_database_is_copied(database: Path, tmp_path: Path) -> None:
    copy_database(database, tmp_path / "copy")
    check_database(tmp_path / "copy")
    assert cluster_of(tmp_path / "copy") != ""
    assert not (tmp_path / "copy-wal").exists()


async def test_a_copy_under_writes_is_one_moment(database: Path, tmp_path: Path) -> None:
    """Each transaction writes two users and their log: no copy has half of one."""
    async with open_store(f"sqlite:///{database}", lambda: NOW) as store:
        stop = asyncio.Event()

        async def write() -> None:
            number = 0
            while not stop.is_set():
                async with store.write("test") as tx:
                    await tx.put(User(f"a{number}", Role.USER, NOW))
                    await tx.put(User(f"b{number}", Role.USER, NOW))
                number += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            await asyncio.sleep(0.2)  # so that there is something to copy
            for number in range(5):
                await asyncio.to_thread(copy_database, database, tmp_path / f"copy{number}")
            stop.set()
    sizes = []
    for number in range(5):
        async with open_store(f"sqlite:///{tmp_path}/copy{number}", lambda: NOW) as copy, copy.read() as view:
            users = {user.name for user in await view.find(User)}
            assert {f"b{name[1:]}" for name in users if name[0] == "a"} == {name for name in users if name[0] == "b"}
            assert view.revision == len(users)
            sizes.append(len(users))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0


def test_what_is_wrong_is_reported(database: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no database"):
        copy_database(tmp_path / "missing", tmp_path / "copy")
    with sqlite3.connect(tmp_path / "foreign") as foreign:
        foreign.execute("create table x (y)")
    foreign.close()
    with pytest.raises(ConfigError, match="not a netvps database"):
        schema_of(tmp_path / "foreign")
    with sqlite3.connect(database) as newer:
        newer.execute("update alembic_version set version_num = '9999'")
    newer.close()
    with pytest.raises(ConfigError, match="newer than this program: it has schema 9999"):
        check_database(database)
    (tmp_path / "noise").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    with pytest.raises((DataLoss, ConfigError)):
        check_database(tmp_path / "noise")


def test_postgresql_has_its_own_means() -> None:
    with pytest.raises(ConfigError, match="pg_dump") as error:
        database_file("postgresql://netvps:secret@db/netvps")
    assert "secret" not in str(error.value)
    assert database_file("sqlite:////x/y.db") == Path("/x/y.db")
