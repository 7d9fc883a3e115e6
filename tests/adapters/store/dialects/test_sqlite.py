"""SQLite's files and SQLite's faults."""

from __future__ import annotations

import asyncio
import errno
import itertools
import sqlite3
import stat
import subprocess
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from netvps.adapters.store import open_store
from netvps.adapters.store.dialects import sqlite
from netvps.domain.access.audit import AuditQuery, verify
from netvps.domain.runner.runner import Lease
from netvps.errors import ConfigError, DataLoss, Exhausted, InternalError, NetvpsError, Unavailable
from netvps.services.auditing import AuditedCall, audited
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from netvps.adapters.store import SqlStore

    Clock = Callable[[], datetime]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "state" / "store.db"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def place(path: Path, content: bytes) -> None:
    """A file that anybody may read, in a directory that anybody may enter."""
    path.parent.mkdir(parents=True, mode=0o755)
    path.write_bytes(content)
    path.chmod(0o644)


def content(path: Path) -> bytes:
    return path.read_bytes()


def damage(path: Path) -> None:
    """All but the first page."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\x5a" * (len(content) - 4096))


async def put(store: SqlStore, number: int, size: int = 1) -> None:
    async with store.write("me") as transaction:
        await transaction.put(Lease(f"{number}", f"{number}" * size, 1))


async def test_directory_and_files_are_for_their_owner_only(path: Path, clock: Clock) -> None:
    async with open_store(f"sqlite:///{path}", clock) as store:
        await put(store, 1)
        assert {p.name: mode(p) for p in path.parent.iterdir()} == dict.fromkeys(
            ("store.db", "store.db-wal", "store.db-shm"), 0o600
        )
    assert mode(path.parent) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["store.db"]


async def test_a_file_that_others_could_read_is_closed_but_not_its_directory(path: Path, clock: Clock) -> None:
    place(path, b"")
    async with open_store(f"sqlite:///{path}", clock):
        assert (mode(path), mode(path.parent)) == (0o600, 0o755)  # the directory may be shared: /tmp is one


async def test_settings_of_the_connections(path: Path, clock: Clock) -> None:
    async with open_store(f"sqlite:///{path}", clock) as store:
        for connections, expected in ((store._writer, 0), (store._readers, 1)):
            async with connections.one() as connection:
                values = [
                    (await connection.run(text(f"PRAGMA {name}"))).scalar_one()
                    for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only")
                ]
            assert values == ["wal", 2, 1, 10_000, expected]


async def test_readers_do_not_wait_for_a_writer(path: Path, clock: Clock) -> None:
    async with (
        open_store(f"sqlite:///{path}", clock) as store,
        asyncio.timeout(PATIENCE),
        store.write("me") as transaction,
    ):
        await transaction.put(Lease("1", "1", 1))
        async with store.read() as view:
            assert await view.find(Lease) == []


async def test_a_lock_of_another_program_is_unavailable(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.1)
    async with open_store(f"sqlite:///{path}", clock) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="another program has locked it for 0 s; try again"):
                await put(store, 1)
            with pytest.raises(Unavailable, match="locked"):
                async with open_store(f"sqlite:///{path}", clock):
                    pass
            other.execute("ROLLBACK")
        await put(store, 1)


async def test_a_full_disk_changes_nothing_and_passes(path: Path, clock: Clock) -> None:
    async with open_store(f"sqlite:///{path}", clock) as store:
        await put(store, 1)
        await limit_pages(store, 30)
        with pytest.raises(Exhausted, match="the disk is full, nothing was changed"):
            await put(store, 2, size=1 << 20)
        async with store.read() as view:
            assert (len(await view.find(Lease)), view.revision) == (1, 1)
        await limit_pages(store, 1 << 20)
        await put(store, 2, size=1 << 20)


async def test_on_a_full_disk_no_change_is_without_its_record(path: Path, clock: Clock) -> None:
    async def fill(store: SqlStore) -> None:
        for number in itertools.count(1):
            with audited(AuditedCall("alice", "local", "Test/Put", str(number), (("note", "x" * 499),) * 20)):
                await put(store, number)

    async with open_store(f"sqlite:///{path}", clock) as store:
        await put(store, 0)
        await limit_pages(store, 200)
        with pytest.raises(Exhausted):
            await fill(store)
        async with store.read() as view:
            leases = [int(lease.cidr) for lease in await view.find(Lease)]
        records = await store.audited(AuditQuery(1000))
        assert sorted(leases) == [0, *(int(record.event.target) for record in records)]
        assert len(records) > 1
        assert verify(records) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 2 MB, as root may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "netvps-test", disk], check=True, timeout=10)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True, timeout=10)


@pytest.mark.netns
async def test_a_file_system_that_runs_full_loses_nothing_that_was_acknowledged(small_disk: Path, clock: Clock) -> None:
    url, ballast = f"sqlite:///{small_disk}/store.db", small_disk / "ballast"
    acknowledged: list[str] = []
    ballast.write_bytes(bytes(256 << 10))

    async def fill(store: SqlStore) -> None:
        for number in itertools.count(len(acknowledged)):
            await put(store, number, size=10_000)
            acknowledged.append(str(number))

    async with open_store(url, clock) as store:
        for _ in range(3):
            with pytest.raises(Exhausted, match="the disk is full, nothing was changed; free space and try again"):
                await fill(store)
            async with store.read() as view:
                assert sorted(lease.cidr for lease in await view.find(Lease)) == sorted(acknowledged)
            assert len(await store.changes(0, 10_000)) == len(acknowledged)
        ballast.unlink()
        for number in range(len(acknowledged), len(acknowledged) + 3):
            await put(store, number)
            acknowledged.append(str(number))
    async with open_store(url, clock) as store, store.read() as view:
        assert sorted(lease.cidr for lease in await view.find(Lease)) == sorted(acknowledged)


@pytest.mark.netns
async def test_a_database_on_a_full_or_closed_file_system_says_so(small_disk: Path, clock: Clock) -> None:
    async with open_store(f"sqlite:///{small_disk}/store.db", clock) as store:
        await put(store, 1)
    fill(small_disk / "ballast")
    for name in ("store.db", "new/store.db"):
        with pytest.raises(Exhausted, match=f"database {small_disk}/{name}: .*(full|No space)"):
            await open_and_close(f"sqlite:///{small_disk}/{name}", clock)
    (small_disk / "ballast").unlink()
    await asyncio.to_thread(remount, small_disk, "ro")
    with pytest.raises(ConfigError, match=f"cannot write in {small_disk} .*; fix that, or give another path"):
        await open_and_close(f"sqlite:///{small_disk}/store.db", clock)
    await asyncio.to_thread(remount, small_disk, "rw")
    async with open_store(f"sqlite:///{small_disk}/store.db", clock) as store, store.read() as view:
        assert len(await view.find(Lease)) == 1


async def open_and_close(url: str, clock: Clock) -> None:
    async with open_store(url, clock):
        pass


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True, timeout=10)


def fill(ballast: Path) -> None:
    """Takes all that is left."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def limit_pages(store: SqlStore, count: int) -> None:
    """SQLite says SQLITE_FULL at its own limit as it does at the disk's."""
    async with store._writer.one() as connection:
        await connection.run(text(f"PRAGMA max_page_count={count}"))


async def test_a_damaged_file_is_data_loss(path: Path, clock: Clock) -> None:
    async with open_store(f"sqlite:///{path}", clock) as store:
        for number in range(100):
            await put(store, number, size=100)
    damage(path)
    with pytest.raises(DataLoss, match=f"database {path}: it is damaged .*; stop the server and restore a backup"):
        async with open_store(f"sqlite:///{path}", clock):
            pass


async def test_another_file_is_not_a_database(path: Path, clock: Clock) -> None:
    diary = b"dear diary, " * 1000
    place(path, diary)
    with pytest.raises(ConfigError, match="not a database; give another path, or move it away"):
        async with open_store(f"sqlite:///{path}", clock):
            pass
    assert content(path) == diary


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("/proc/netvps/store.db", "cannot create directory /proc/netvps"),
        ("/proc/self/store.db", "cannot write in /proc/self"),
        ("{tmp}/file/store.db", "cannot create directory {tmp}/file"),
        ("{tmp}", "is not a file; give another path"),
    ],
)
async def test_an_impossible_place_is_named(place: str, sentence: str, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=sentence.format(tmp=tmp_path)):
        async with open_store(f"sqlite:///{place.format(tmp=tmp_path)}", clock):
            pass


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_READONLY_DBMOVED, ConfigError),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, ConfigError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Unavailable),
        (sqlite3.SQLITE_IOERR_WRITE, Unavailable),
        (sqlite3.SQLITE_IOERR_SHMSIZE, Exhausted),
        (sqlite3.SQLITE_CORRUPT_INDEX, DataLoss),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, InternalError),
    ],
)
def test_result_codes_go_by_their_class(code: int, kind: type[NetvpsError]) -> None:
    error = sqlite3.OperationalError("what happened")
    error.sqlite_errorcode = code
    assert type(sqlite.Sqlite("/x").mapped(error)) is kind


async def test_writing_where_only_reading_is_allowed_is_a_config_error(path: Path, clock: Clock) -> None:
    async with open_store(f"sqlite:///{path}", clock) as store:
        store._writer, writer = store._readers, store._writer
        with pytest.raises(ConfigError, match="cannot be written"):
            await put(store, 1)
        store._writer = writer


def test_no_space_for_the_directory_is_exhausted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(path), "mkdir", full)
    with pytest.raises(Exhausted, match=r"cannot create directory .* \(No space left on device\); fix that"):
        sqlite.Sqlite(str(path)).prepare()
