"""The log, its readers, and what is left after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from netvps import faults
from netvps.adapters.store import SqlStore, connection, open_store
from netvps.adapters.store import store as module
from netvps.adapters.store.store import News
from netvps.domain.access.accounts import Caller, Role, User
from netvps.domain.access.invitations import NewAccount
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.runner.runner import Lease
from netvps.domain.server import Registration
from netvps.domain.session.session import DesiredState, Session
from netvps.domain.session.spec import SessionSpec
from netvps.errors import TooOld, Unauthenticated, Unavailable
from netvps.services.access.invitations import Invitations
from netvps.services.access.registration import Registrations
from tests.fakes.ca import FakeCa
from tests.fakes.keys import ed25519
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 5, 4, tzinfo=UTC)
CRASHING_WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from netvps.adapters.store import open_store
from netvps.domain.runner.runner import Lease

async def main():
    async with open_store(sys.argv[1], lambda: datetime.now(UTC)) as store:
        for number in range(100_000):
            async with store.write("crash") as transaction:
                a = await transaction.put(Lease(f"{sys.argv[2]}-{number}-a", f"{sys.argv[2]}-{number}-a", number))
                b = await transaction.put(Lease(f"{sys.argv[2]}-{number}-b", f"{sys.argv[2]}-{number}-b", number))
            print(b.revision, flush=True)

asyncio.run(main())
"""
FIRST_START = """
import asyncio, sys
from datetime import UTC, datetime
from netvps.adapters.store import open_store
import asyncio
from netvps.adapters.store.store import News

async def main():
    sys.stdin.readline()
    async with open_store(sys.argv[1], lambda: datetime.now(UTC)) as store:
        print(await store.cluster_id())

asyncio.run(main())
"""


async def put_lease(store: SqlStore, number: int) -> int:
    async with store.write("me") as transaction:
        return (await transaction.put(Lease(f"lease-{number}", f"runner-{number}", 1))).revision


async def test_the_log_says_what_who_and_when(store: SqlStore) -> None:
    start = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)
    async with store.write("alice") as transaction:
        await transaction.put(User("bob", Role.USER, NOW))
    async with store.write("runner/r1") as transaction:
        await transaction.put(Lease("10.0.0.0/22", "r1", 1))
    first, second = await store.changes(0, 10)
    assert (first.resource.kind, first.actor, first.time) == ("user", "alice", start)
    assert (second.resource.kind, second.actor, second.time) == ("lease", "runner/r1", start + timedelta(seconds=1))
    assert second.time.tzinfo is UTC
    assert await store.changes(1, 10) == [second]
    assert await store.changes(0, 1) == [first]
    assert await store.changes(2, 10) == []


async def test_concurrent_writers_leave_a_log_in_order_without_gaps(store: SqlStore) -> None:
    async def writer(number: int) -> None:
        for turn in range(5):
            async with store.write(f"w{number}") as transaction:
                await transaction.put(Lease(f"{number}-{turn}-a", f"{number}-{turn}-a", turn))
                await asyncio.sleep(0)
                await transaction.put(Lease(f"{number}-{turn}-b", f"{number}-{turn}-b", turn))

    async def reader() -> None:
        while True:
            async with store.read() as view:
                leases = await view.find(Lease)
                await asyncio.sleep(0)
                assert await view.find(Lease) == leases  # the same, whatever was written in between
                assert sorted(lease.revision for lease in leases) == list(range(1, view.revision + 1))
                assert len(leases) % 2 == 0  # never half a transaction

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(reader()) for _ in range(3)]
        async with asyncio.TaskGroup() as writers:
            for number in range(20):
                writers.create_task(writer(number))
        for task in readers:
            task.cancel()
    log = await store.changes(0, 1000)
    assert [change.revision for change in log] == list(range(1, 201))
    assert all(a.actor == b.actor for a, b in zip(log[::2], log[1::2], strict=True))


async def test_wait_returns_at_a_commit_and_loses_none(store: SqlStore) -> None:
    seen: list[int] = []

    async def follow() -> None:
        after = 0
        while after < 50:
            await store.wait(after)
            for change in await store.changes(after, 7):
                seen.append(change.revision)
                after = change.revision

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(follow())
        for number in range(50):
            await put_lease(store, number)
    assert seen == list(range(1, 51))


async def test_a_lock_of_another_program_is_waited_for_and_readers_do_not(
    store: SqlStore, url: str, clock: Callable[[], datetime]
) -> None:
    await put_lease(store, 0)
    async with (
        open_store(url, clock) as other,
        asyncio.timeout(PATIENCE),
        asyncio.TaskGroup() as group,
        other.write("slow") as transaction,
    ):
        await transaction.put(Lease("slow", "slow", 1))
        writers = [group.create_task(put_lease(store, number)) for number in range(1, 6)]
        for _ in range(30):
            async with store.read() as view:
                assert view.revision == 1
            await asyncio.sleep(0.05)
        assert not any(writer.done() for writer in writers)
        assert store.writers_waiting == 4
    assert sorted(writer.result() for writer in writers) == [3, 4, 5, 6, 7]


async def test_a_cancelled_waiter_harms_no_other(store: SqlStore) -> None:
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        doomed = group.create_task(store.wait(0))
        other = group.create_task(store.wait(0))
        await asyncio.sleep(0)
        doomed.cancel()
        await put_lease(store, 1)
        await other
    assert doomed.cancelled()
    await asyncio.wait_for(store.wait(0), 1)  # what is past already is no wait


async def test_wait_hears_of_another_process(store: SqlStore, url: str, clock: Callable[[], datetime]) -> None:
    async with open_store(url, clock) as other:
        await put_lease(other, 1)
        await asyncio.wait_for(store.wait(0), PATIENCE)


async def test_a_cancelled_writer_leaves_nothing_and_blocks_no_other(store: SqlStore) -> None:
    inside = asyncio.Event()

    async def slow() -> None:
        async with store.write("slow") as transaction:
            await transaction.put(Lease("10.0.0.0/22", "r1", 1))
            inside.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(slow())
        await inside.wait()
        task.cancel()
    assert await put_lease(store, 1) == 1


async def test_writers_wait_for_their_turn_only_so_long(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.05)
    async with store.write("slow"):
        with pytest.raises(Unavailable, match="other writers took too long; try again"):
            await put_lease(store, 1)
    assert await put_lease(store, 1) == 1


async def test_compaction_keeps_the_last_entries_and_all_resources(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMPACT_AT_ONCE", 3)
    for number in range(10):
        await put_lease(store, number)
    assert await store.compact(4, 1 << 40) == 6
    assert await store.compact(4, 1 << 40) == 0
    assert [change.revision for change in await store.changes(6, 100)] == [7, 8, 9, 10]
    with pytest.raises(TooOld, match="the log no longer has what follows revision 5; list again, then watch"):
        await store.changes(5, 100)
    async with store.read() as view:
        assert (view.revision, len(await view.find(Lease))) == (10, 10)
    assert await store.compact(0, 1 << 40) == 4
    assert await store.changes(10, 100) == []
    assert await put_lease(store, 11) == 11


async def test_a_revision_that_never_was_is_too_old(store: SqlStore) -> None:
    await put_lease(store, 1)
    with pytest.raises(TooOld):
        await store.changes(2, 10)  # seen before the database was restored from a backup


async def test_everything_is_there_after_reopening(url: str, clock: Callable[[], datetime]) -> None:
    async with open_store(url, clock) as store:
        cluster = await store.cluster_id()
        stored = await put_lease(store, 1)
    async with open_store(url, clock) as store:
        assert await store.cluster_id() == cluster
        await asyncio.wait_for(store.wait(0), PATIENCE)
        assert [change.revision for change in await store.changes(0, 10)] == [stored]


async def test_a_killed_writer_loses_nothing_that_it_acknowledged(url: str, clock: Callable[[], datetime]) -> None:
    acknowledged = 0
    for life in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CRASHING_WRITER, url, str(life), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                for _ in range(7 + 13 * life):
                    acknowledged = int(await process.stdout.readline())
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        acknowledged = max([acknowledged, *map(int, (await process.stdout.read()).split())])
    async with open_store(url, clock) as store:
        log = await store.changes(0, 1_000_000)
        async with store.read() as view:
            leases = await view.find(Lease)
            revision = view.revision
    assert revision >= acknowledged > 0
    assert [change.revision for change in log] == list(range(1, revision + 1))
    assert revision % 2 == 0  # whole transactions only
    assert sorted(leases, key=lambda lease: lease.revision) == [change.resource for change in log]


async def test_two_processes_may_start_first(url: str) -> None:
    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", FIRST_START, url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )

    processes = [await start() for _ in range(2)]
    answers = await asyncio.wait_for(asyncio.gather(*(p.communicate(b"go\n") for p in processes)), 60)
    assert [p.returncode for p in processes] == [0, 0]
    assert len({out for out, _ in answers}) == 1


async def test_a_put_that_changes_nothing_is_logged_too(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        lease = await transaction.put(Lease("10.0.0.0/22", "r1", 1))
    async with store.write("me") as transaction:
        assert await transaction.put(lease) == replace(lease, revision=2)
    assert len(await store.changes(0, 10)) == 2


def _large(name: str, kilobytes: int = 100) -> Session:
    spec = SessionSpec(env={f"A{number}": "x" * 20_000 for number in range(kilobytes // 20)})
    return Session(name, name, "alice", spec, DesiredState.RUNNING, 1, NOW, NOW)


async def test_the_log_is_kept_short_by_bytes_too(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMPACT_BYTES", 250_000)  # some steps, none of which writers wait for long
    grown = asyncio.ensure_future(store.grown(900_000))
    for _ in range(10):
        async with store.write("me") as transaction:
            await transaction.put(_large("s1"))
    async with asyncio.timeout(PATIENCE):
        await grown
    assert await store.compact(1000, 350_000) == 6
    assert [change.revision for change in await store.changes(6, 100)] == [7, 8, 9, 10]
    with pytest.raises(TooOld):
        await store.changes(5, 100)
    assert await store.compact(1000, 350_000) == 0
    assert await store.compact(2, 350_000) == 2
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await store.grown(1)  # all was looked at


async def test_the_log_is_read_in_parts_of_some_size(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_BYTES", 250_000)
    async with store.write("me") as transaction:
        for number in range(6):
            await transaction.put(_large("s1", kilobytes=400 if number == 4 else 100))
    parts, after = list[int](), 0
    while changes := await store.changes(after, 100):
        parts.append(len(changes))
        after = changes[-1].revision
    assert parts == [3, 1, 2]


@pytest.mark.parametrize(("when", "kept"), [("before", False), ("after", True)])
async def test_a_named_transaction_has_a_point_on_either_side_of_its_commit(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, kept: bool
) -> None:
    monkeypatch.setattr(faults, "_FOLDER", tmp_path)
    (tmp_path / f"access.user.{when}_commit").write_text("raise")
    with pytest.raises(faults.InjectedFault):
        async with store.write("test", "access.user") as tx:
            await tx.put(User("carol", Role.USER, NOW))
    async with store.read() as reader:
        assert (await reader.get(User, "carol") is not None) is kept


async def test_a_waiter_is_woken_by_a_greater_revision_only() -> None:
    news = News()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        waiter = group.create_task(news.wait(3))
        for revision in (1, 3, 2, 3):
            news.publish(revision)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiter.done()
        news.publish(4)
    assert waiter.done()


async def test_a_publication_between_two_waits_is_not_lost() -> None:
    news = News()
    news.publish(1)
    await asyncio.wait_for(news.wait(0), 1)
    news.publish(2)
    await asyncio.wait_for(news.wait(1), 1)


async def test_all_waiters_are_woken_at_once() -> None:
    news = News()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        waiters = [group.create_task(news.wait(0)) for _ in range(100)]
        await asyncio.sleep(0)
        waiters[50].cancel()
        news.publish(1)
    assert [w.cancelled() for w in waiters].count(True) == 1


async def test_of_two_servers_that_redeem_one_invitation_one_does(store: SqlStore, url: str) -> None:
    async with store.write("test") as transaction:
        await transaction.put(User("root", Role.ADMIN, NOW))
    uids = map(str, range(100))
    _, token = await Invitations(store, now, FakeCa(), Registration.INVITE_ONLY).create(Caller("root", Role.ADMIN))
    async with open_store(url, now) as other:

        async def register(at: SqlStore, number: int) -> User:
            server = Registrations(at, now, lambda: next(uids), FakeCa(), Registration.INVITE_ONLY)
            asked = NewAccount(f"u{number}", PublicKey.parse(ed25519(number)))
            return (await server.register(await server.admit(token, ""), asked))[0]

        tries = [register((store, other)[number % 2], number) for number in range(6)]
        results = await asyncio.gather(*tries, return_exceptions=True)
    won = [one for one in results if isinstance(one, User)]
    assert len(won) == 1
    assert sum(isinstance(one, Unauthenticated) for one in results) == 5
    async with store.read() as reader:
        assert {user.name for user in await reader.find(User)} == {"root", won[0].name}


def now() -> datetime:
    return NOW
