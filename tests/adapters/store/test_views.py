"""What a transaction changes, and what a reader finds."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from netvps.adapters.store import open_store
from netvps.adapters.store.tables import KINDS
from netvps.adapters.store.views import _ordered
from netvps.domain.access.accounts import Caller, Credential, Request, Role, SshKey, User
from netvps.domain.access.quota import Quota
from netvps.domain.access.ssh_key import fingerprint_of
from netvps.domain.runner.runner import Lease, Runner, RunnerState
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.snapshot import Holder, Snapshot, SnapshotCause, SnapshotSource, SnapshotState
from netvps.domain.uid import make_uid
from netvps.errors import AlreadyExists, Exhausted
from netvps.services.sessions.sessions import Sessions
from tests.fakes.keys import ed25519

if TYPE_CHECKING:
    from pathlib import Path

    from netvps.adapters.store import SqlStore

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def session(uid: str, name: str, owner: str = "alice", **more: Any) -> Session:
    return Session(uid, name, owner, SessionSpec(env={"A": "b"}), DesiredState.RUNNING, 1, NOW, NOW, **more)


def runner(uid: str, name: str) -> Runner:
    return Runner(uid, name, NOW, NOW)


def key(uid: str, fingerprint: str, owner: str = "alice") -> SshKey:
    return SshKey(uid, owner, f"ssh-ed25519 {uid}", fingerprint, "", NOW)


EVERY_KIND: list[Any] = [
    session("s1", "dev"),
    runner("r1", "box"),
    Lease("10.0.0.0/22", "r1", 1),
    User("alice", Role.ADMIN, NOW),
    key("k1", "SHA256:x"),
    Credential("c1", "api", "alice", "0" * 64, NOW, None),
    Request("alice/1", "0" * 64, "session", "s1", "dev.alice", NOW),
    Snapshot("n1", "s1", "dev", "alice", "one", SnapshotCause.REQUEST, NOW, NOW),
]


@pytest.mark.parametrize("resource", EVERY_KIND, ids=lambda resource: resource.kind)
async def test_a_resource_is_put_replaced_and_deleted(store: SqlStore, resource: Any) -> None:
    kind = type(resource)
    async with store.write("me") as transaction:
        first = await transaction.put(resource)
    async with store.write("me") as transaction:
        second = await transaction.put(first)
    async with store.read() as view:
        assert await view.get(kind, resource.key) == second
        assert await view.find(kind) == [second]
    async with store.write("me") as transaction:
        await transaction.delete(second)
        await transaction.delete(second)
        assert await transaction.get(kind, resource.key) is None
    log = await store.changes(0, 10)
    assert [(c.revision, c.resource, c.deleted) for c in log] == [
        (1, first, False),
        (2, second, False),
        (3, second, True),
    ]
    assert (first, second) == (replace(resource, revision=1), replace(resource, revision=2))


async def test_each_change_of_a_transaction_has_its_own_revision(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        assert transaction.revision == 0
        stored = [await transaction.put(session(f"s{n}", f"n{n}")) for n in range(3)]
        assert transaction.revision == 3
        assert await transaction.find(Session) == stored  # its own changes are in view
    async with store.read() as view:
        assert view.revision == 3
    assert [s.revision for s in stored] == [1, 2, 3]


async def test_an_exception_undoes_everything(store: SqlStore) -> None:
    async def fail() -> None:
        async with store.write("me") as transaction:
            await transaction.put(session("s1", "dev"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.read() as view:
        assert (view.revision, await view.find(Session)) == (0, [])
    assert await store.changes(0, 10) == []


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (session("s1", "dev"), session("s2", "dev"), "session dev of user alice exists already; choose another name"),
        (runner("r1", "box"), runner("r2", "box"), "runner name box is taken; choose another name"),
        (Lease("10.0.0.0/22", "r1", 1), Lease("10.0.4.0/22", "r1", 1), "runner r1 has a subnet already"),
        (key("k1", "SHA256:x"), key("k2", "SHA256:x", "bob"), "key SHA256:x is registered already"),
    ],
)
async def test_what_is_taken_is_named(store: SqlStore, first: Any, second: Any, sentence: str) -> None:
    async with store.write("me") as transaction:
        await transaction.put(first)
    async with store.write("me") as transaction:
        with pytest.raises(AlreadyExists, match=sentence) as caught:
            await transaction.put(second)
        await transaction.put(User("carol", Role.USER, NOW))  # the transaction goes on
    assert "bob" not in str(caught.value)
    async with store.read() as view:
        assert (len(await view.find(type(first))), view.revision) == (1, 2)


async def test_a_name_is_free_for_another_owner_and_after_a_rename_or_deletion(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        one = await transaction.put(session("s1", "dev", "alice"))
        await transaction.put(session("s2", "dev", "bob"))
        await transaction.delete(one)
        three = await transaction.put(session("s3", "dev", "alice"))
        await transaction.put(replace(three, name="other"))
        await transaction.put(session("s4", "dev", "alice"))
        found = await transaction.find(Session, owner="alice")
    assert [s.key for s in found] == ["s4", "s3"]


async def test_find_goes_by_every_column(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        for resource in EVERY_KIND:
            await transaction.put(resource)
        await transaction.put(session("s2", "web", "bob", runner="r1", state=SessionState.RUNNING))
    async with store.read() as view:
        assert [s.key for s in await view.find(Session, runner="r1", state="RUNNING", desired="RUNNING")] == ["s2"]
        assert [s.key for s in await view.find(Session, owner="alice", name="dev", state="PENDING", runner="")] == [
            "s1"
        ]
        assert [r.key for r in await view.find(Runner, name="box", state=RunnerState.OFFLINE)] == ["r1"]
        assert [r.key for r in await view.find(Lease, runner="r1")] == ["10.0.0.0/22"]
        assert [r.key for r in await view.find(User, role="ADMIN")] == ["alice"]
        assert [r.key for r in await view.find(SshKey, fingerprint="SHA256:x", owner="alice")] == ["k1"]
        assert [r.key for r in await view.find(Credential, purpose="api", subject="alice")] == ["c1"]
        assert await view.find(Session, owner="' OR 1=1 --") == []
        with pytest.raises(ValueError, match="user has no column colour: it has role"):
            await view.find(User, colour="red")


async def test_pages_follow_each_other_in_the_order_of_name_and_owner(store: SqlStore) -> None:
    # "dev.x" as text comes after "dev-1.x", since '-' is less than '.': by columns it does not
    names = [("dev", "bob"), ("dev", "al"), ("dev-1", "al"), ("d", "zoe"), ("dev0", "al"), ("1", "al"), ("dev", "al-2")]
    async with store.write("me") as transaction:
        for number, (name, owner) in enumerate(names):
            await transaction.put(session(f"s{number}", name, owner))
    seen: list[tuple[str, str]] = []
    async with store.read() as view:
        after = ""
        while page := await view.page(Session, after, 2):
            assert len(page) <= 2
            seen += [(s.name, s.owner) for s in page]
            after = str(page[-1].full_name)
        assert seen == sorted(names)
        assert [s.key for s in await view.page(Session, "dev.bear", 9, owner="al")] == [
            "s2",
            "s4",
        ]  # there is no such row


async def test_pages_of_other_kinds_go_by_their_natural_key(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        for number, name in enumerate(["c", "a", "b-b", "b"]):
            await transaction.put(runner(f"r{number}", name))
            await transaction.put(User(name, Role.USER, NOW))
            await transaction.put(key(f"k{number}", f"SHA256:{name}.x"))
            await transaction.put(Lease(f"10.0.{number}.0/22", f"r{number}", 1))
    async with store.read() as view:
        assert [r.name for r in await view.page(Runner, "a", 2)] == ["b", "b-b"]
        assert [u.name for u in await view.page(User, "a", 9)] == ["b", "b-b", "c"]
        assert [k.uid for k in await view.page(SshKey, "SHA256:a.x", 1)] == ["k2"]
        assert [r.cidr for r in await view.page(Lease, "10.0.2.0/22", 9)] == ["10.0.3.0/22"]


async def test_a_tally_counts_by_column(store: SqlStore) -> None:
    async with store.write("test") as tx:
        await tx.put(session("s1", "a"))
        await tx.put(session("s2", "b"))
        await tx.put(session("s3", "c", state=SessionState.FAILED))
    async with store.read() as view:
        assert await view.tally(Session, "state") == {"PENDING": (2,), "FAILED": (1,)}
        assert await view.tally(Runner, "state") == {}


async def test_a_tally_sums_what_matches(store: SqlStore) -> None:
    small, large = SessionSpec(cpus=0.5, memory_bytes=1 << 40), SessionSpec(cpus=1024)
    async with store.write("test") as tx:
        for number, (spec, on, desired) in enumerate(
            [(small, "r1", "RUNNING"), (large, "r1", "RUNNING"), (small, "r1", "STOPPED"), (small, "r2", "RUNNING")]
        ):
            one = session(f"s{number}", f"n{number}", runner=on)
            await tx.put(replace(one, spec=spec, desired=DesiredState(desired)))
        expected = {"r1": (2, 1_024_500, (1 << 40) + (1 << 30)), "r2": (1, 500, 1 << 40)}
        assert await tx.tally(Session, "runner", "cpu_claim", "memory_claim", desired="RUNNING") == expected
        await tx.delete(session("s3", "n3"))
        assert await tx.tally(Session, "runner", desired="RUNNING") == {"r1": (2,)}  # as of now, changes included
        with pytest.raises(ValueError, match="session has no column colour"):
            await tx.tally(Session, "runner", colour="red")


def _with_keys(uid: str, name: str, *numbers: int, owner: str = "alice") -> Session:
    spec = SessionSpec(authorized_keys=tuple(map(ed25519, numbers)))
    return replace(session(uid, name, owner), spec=spec)


def _print(number: int) -> str:
    return fingerprint_of(ed25519(number))


async def test_a_session_is_found_by_each_key_of_its_spec(store: SqlStore) -> None:
    async with store.write("me") as tx:
        one = await tx.put(_with_keys("s1", "dev", 1, 2))
        await tx.put(_with_keys("s2", "dev", 2, owner="bob"))
        await tx.put(_with_keys("s3", "web", 2))
    async with store.read() as view:

        async def found(number: int, **where: str) -> str:
            return " ".join(s.uid for s in await view.find(Session, key_fingerprints=_print(number), **where))

        assert [await found(1), await found(2), await found(3)] == ["s1", "s1 s2 s3", ""]
        assert [await found(2, name="dev"), await found(2, name="dev", owner="bob")] == ["s1 s2", "s2"]
        assert await found(2, runner="r1") == ""
        assert [s.uid for s in await view.page(Session, "dev.alice", 1, key_fingerprints=_print(2))] == ["s2"]
    async with store.write("me") as tx:  # other keys, another name, and none of it any more
        await tx.put(replace(one, name="new", spec=SessionSpec(authorized_keys=(ed25519(1), ed25519(3)))))
        await tx.delete(_with_keys("s3", "web", 2))
    async with store.read() as view:
        assert [await found(1, name="dev"), await found(1, name="new"), await found(3)] == ["", "s1", "s1"]
        assert await found(2) == "s2"


async def test_a_session_is_found_by_its_keys_without_reading_others(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path}/store.db", lambda: NOW):
        pass
    statement = _ordered(KINDS["session"], {"key_fingerprints": "SHA256:x", "name": "dev"})
    text = str(statement.compile(dialect=sqlite_dialect(), compile_kwargs={"literal_binds": True}))
    with closing(sqlite3.connect(tmp_path / "store.db")) as database:
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {text}")]
    assert plan[0].startswith("SEARCH session_key_fingerprints USING INDEX sqlite_autoindex")
    assert "(value=? AND name=?)" in plan[0]
    assert plan[1].startswith("SEARCH session USING INDEX sqlite_autoindex_session_1 (key=?)")


async def test_find_takes_several_values(store: SqlStore) -> None:
    async with store.write("me") as tx:
        for number in range(3):
            await tx.put(Lease(f"10.0.{number}.0/22", f"r{number}", 1))
    async with store.read() as view:
        assert [lease.runner for lease in await view.find(Lease, runner=("r2", "r0", "r9"))] == ["r0", "r2"]
        assert await view.find(Lease, runner=()) == []


def _snapshot(uid: str, session: str, snapshot_id: str, state: SnapshotState = SnapshotState.READY) -> Snapshot:
    return Snapshot(uid, session, "dev1", "alice", snapshot_id, SnapshotCause.REQUEST, NOW, NOW, state)


async def test_snapshots_are_found_by_session_id_owner_and_state(store: SqlStore) -> None:
    one, two = _snapshot("u1", "s1", "b-1"), _snapshot("u2", "s1", "a-1", SnapshotState.CREATING)
    other = replace(_snapshot("u3", "s0", "b-1"), owner="bob", labels={"a": "b"}, holders=(Holder("r", "lab1"),))
    async with store.write("me") as tx:
        one, two, other = [await tx.put(snapshot) for snapshot in (one, two, other)]
    async with store.read() as reader:
        assert await reader.find(Snapshot, session="s1") == [two, one]
        assert await reader.find(Snapshot, session="s1", id="b-1") == [one]
        assert await reader.find(Snapshot, owner="bob") == [other]
        assert await reader.find(Snapshot, state="CREATING") == [two]
        pages = [await reader.page(Snapshot, after, 2) for after in ("", "s1.a-1")]
        assert pages == [[other, two], [one]]
        assert await reader.tally(Snapshot, "session") == {"s0": (1,), "s1": (2,)}


async def test_a_snapshot_id_is_used_once_per_session(store: SqlStore) -> None:
    async with store.write("me") as tx:
        await tx.put(_snapshot("u1", "s1", "one"))
        await tx.put(_snapshot("u2", "s2", "one"))
    with pytest.raises(AlreadyExists, match="this session has a snapshot one already"):
        async with store.write("me") as tx:
            await tx.put(_snapshot("u3", "s1", "one"))
    async with store.write("me") as tx:
        await tx.delete(_snapshot("u1", "s1", "one"))
        await tx.put(_snapshot("u3", "s1", "one"))


async def test_clones_are_found_by_the_snapshot_that_they_wait_for(store: SqlStore) -> None:
    clone = replace(session("c1", "dev2"), source=SnapshotSource("u1", "s1"))
    async with store.write("me") as tx:
        clone = await tx.put(clone)
        await tx.put(session("c2", "dev3"))
    async with store.read() as reader:
        assert await reader.find(Session, awaits="u1") == [clone]
    async with store.write("me") as tx:
        await tx.put(replace(clone, source=SnapshotSource("u1", "s1", consumed=True)))
    async with store.read() as reader:
        assert await reader.find(Session, awaits="u1") == []


async def test_sessions_that_two_servers_make_at_once_stay_within_a_quota(store: SqlStore, url: str) -> None:
    async with store.write("test") as transaction:
        await transaction.put(User("alice", Role.USER, NOW, quota=Quota(sessions=3, memory_bytes=2 << 30)))
    spec, alice = SessionSpec(image="debian:12", memory_bytes=1 << 30), Caller("alice", Role.USER)
    numbers = itertools.count(1)
    async with open_store(url, lambda: NOW) as other:
        servers = [Sessions(at, lambda: NOW, lambda: make_uid(0, next(numbers)), "") for at in (store, other)]
        tries = [servers[n % 2].create(alice, session_id=f"s{n}", owner="", spec=spec) for n in range(6)]
        made = await asyncio.gather(*tries, return_exceptions=True)
    assert [one.reason for one in made if isinstance(one, Exhausted)] == ["QUOTA_EXCEEDED"] * 4
    async with store.read() as reader:
        assert len(await reader.find(Session, owner="alice")) == 2


async def test_the_time_is_that_of_the_database(store: SqlStore) -> None:
    async with store.read() as reader:
        first, second = await reader.now(), await reader.now()
    assert timedelta() <= second - first < timedelta(minutes=1)
    assert abs(datetime.now(UTC) - second) < timedelta(minutes=1)  # on this machine; that of the test is years away
