"""The audit log on real databases: its chain holds, and a change is recorded in its transaction."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import Column, MetaData, Table

from netvps.adapters.store import views
from netvps.adapters.store.store import SqlStore
from netvps.adapters.store.tables import audit
from netvps.domain.access.accounts import Role, User
from netvps.domain.access.audit import PRUNED, AuditEvent, AuditQuery, verify
from netvps.errors import AlreadyExists, NetvpsError
from netvps.services.auditing import AuditedCall, audited
from tests.adapters.store.conftest import NOW

ALL = AuditQuery(1000)


def event(actor: str, target: str = "") -> AuditEvent:
    return AuditEvent(actor, "192.0.2.1:1", "ssh.login", target, details=(("bytes", "1"), ("ünicode", '"\\')))


async def test_what_is_written_is_read_and_the_chain_holds(store: SqlStore) -> None:
    await asyncio.gather(*(store.audit([(NOW, event(f"u{i}")), (NOW, event("all", "x" * 900))]) for i in range(5)))
    found = await store.audited(ALL)
    assert [each.number for each in found] == list(range(1, 11))
    assert verify(found) == []
    assert len(found[1].event.target) == 500
    assert await store.audited(AuditQuery(2, newest_first=True, before=9, actor="all")) == [found[7], found[5]]


@pytest.mark.parametrize(
    "query",
    [
        AuditQuery(9, actor="alice"),
        AuditQuery(9, target="users/bob", action="ssh.login"),
        AuditQuery(9, action="other"),
        AuditQuery(9, after=1, before=3),
        AuditQuery(9, since=NOW + timedelta(seconds=1), until=NOW + timedelta(seconds=2)),
        AuditQuery(1, newest_first=True),
    ],
)
async def test_queries_find_what_the_domain_says(store: SqlStore, query: AuditQuery) -> None:
    times = [
        (NOW + timedelta(seconds=n), event(name, f"users/{name}")) for n, name in enumerate(["alice", "bob", "eve"])
    ]
    await store.audit(times)
    expected = [each for each in await store.audited(ALL) if query.matches(each)]
    assert await store.audited(query) == (expected[::-1] if query.newest_first else expected)[: query.limit]


async def test_a_change_is_recorded_once_with_who_asked_for_it(store: SqlStore) -> None:
    with audited(AuditedCall("alice", "local", "UserService/CreateUser", "bob")) as call:
        async with store.write("alice") as tx:
            await tx.put(User("bob", Role.USER, NOW))
        async with store.write("alice") as tx:
            await tx.put(User("eve", Role.USER, NOW))
    async with store.write("alice") as tx:  # by no call
        await tx.put(User("joe", Role.USER, NOW))
    (found,) = await store.audited(ALL)
    assert found.event == call.event()
    assert verify([found]) == []


async def test_what_was_not_committed_or_changed_nothing_is_not_recorded(store: SqlStore) -> None:
    async def fail() -> None:
        async with store.write("alice") as tx:
            await tx.put(User("bob", Role.USER, NOW))
            raise AlreadyExists("test")

    with audited(AuditedCall("alice", "local", "UserService/CreateUser", "bob")) as call:
        async with store.write("alice") as tx:
            assert await tx.get(User, "bob") is None
        with pytest.raises(AlreadyExists):
            await fail()
        assert not call.recorded
    assert await store.audited(ALL) == []


async def test_a_task_that_outlives_its_call_acts_for_itself(store: SqlStore) -> None:
    over = asyncio.Event()

    async def later() -> None:
        await over.wait()
        async with store.write("netvps") as tx:
            await tx.put(User("bob", Role.USER, NOW))

    with audited(AuditedCall("alice", "local", "X/Y")):
        task = asyncio.get_running_loop().create_task(later())
    over.set()
    await task
    assert await store.audited(ALL) == []


async def test_old_records_are_deleted_and_the_rest_is_whole(store: SqlStore) -> None:
    await store.audit([(NOW - timedelta(days=days), event("alice")) for days in (9, 8, 2, 1)])
    assert await store.prune_audit(NOW - timedelta(days=7)) == 2
    assert await store.prune_audit(NOW - timedelta(days=7)) == 0
    found = await store.audited(ALL)
    assert [each.number for each in found] == [3, 4, 5]
    assert found[-1].event.action == PRUNED
    assert verify(found) == []
    await store.prune_audit(NOW + timedelta(days=9))  # everything but the newest, which the next one follows
    await store.prune_audit(NOW + timedelta(days=9))
    assert verify(await store.audited(ALL)) == []


async def test_a_change_whose_record_cannot_be_written_is_refused(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full when the record, the last row of the transaction, is written."""
    call = AuditedCall("alice", "local", "UserService/CreateUser", "users/bob")
    with audited(call):
        with monkeypatch.context() as patch:
            patch.setattr(
                views, "audit", Table("no_such_table", MetaData(), *(Column(c.name, c.type) for c in audit.c))
            )
            with pytest.raises(NetvpsError):
                async with store.write("alice") as tx:
                    await tx.put(User("bob", Role.USER, NOW))
        async with store.read() as reader:
            assert (await reader.find(User), reader.revision) == ([], 0)
        assert await store.audited(ALL) == []
        assert not call.recorded
        async with store.write("alice") as tx:
            await tx.put(User("bob", Role.USER, NOW))
    (found,) = await store.audited(ALL)
    assert (found.number, found.event.target) == (1, "users/bob")
    assert verify([found]) == []
