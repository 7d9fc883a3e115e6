"""The schema that migrations make, and databases that are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from netvps.adapters.store import SqlStore, migrate, open_store
from netvps.adapters.store.codec import encode
from netvps.adapters.store.dialects.url import dialect_of
from netvps.adapters.store.migrate import migrations
from netvps.adapters.store.tables import metadata
from netvps.domain.access.accounts import Credential, Role, User
from netvps.domain.access.ssh_key import fingerprint_of
from netvps.domain.runner.runner import Lease, Runner
from netvps.domain.session.session import OWN_RULE, DesiredState, Session
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.policy import SleepPolicy
from netvps.errors import AlreadyExists, ConfigError
from tests.fakes.keys import ed25519

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    Clock = Callable[[], datetime]

T = TypeVar("T")


NOW = datetime(2026, 5, 4, tzinfo=UTC)


async def change(url: str, work: Callable[[Connection], T]) -> T:
    dialect = dialect_of(url)
    dialect.prepare()
    engine = dialect.writer()
    try:
        return await engine.transaction(work)
    finally:
        await engine.dispose()


async def run(url: str, *statements: str) -> None:
    await change(url, lambda connection: [connection.execute(text(one)) for one in statements])


async def at(url: str, schema: str, fill: Callable[[Connection], None]) -> None:
    """Makes a database of an earlier schema, and fills it."""

    def make(connection: Connection) -> None:
        _upgrade_to(connection, schema)
        fill(connection)

    await change(url, make)


def test_the_schemas_that_are_known_are_those_of_alembic() -> None:
    scripts = ScriptDirectory(str(Path(migrate.__file__).with_name("migrations")))
    assert migrate.known_schemas() == {script.revision for script in scripts.walk_revisions()}
    assert max(migrate.known_schemas()) == scripts.get_current_head()


async def test_migrations_make_what_the_tables_say(store: SqlStore) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert await store._writer.engine.transaction(differences) == []


async def test_a_newer_database_is_refused_and_left_alone(url: str, clock: Clock) -> None:
    async with open_store(url, clock) as store, store.write("me") as transaction:
        lease = await transaction.put(Lease("10.0.0.0/22", "r1", 1))
    await run(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(
        ConfigError, match="newer than this program: it has schema 9999, this program knows 0028; nothing was"
    ):
        async with open_store(url, clock):
            pass
    await run(url, "UPDATE alembic_version SET version_num = '0028'")
    async with open_store(url, clock) as store, store.read() as view:
        assert await view.find(Lease) == [lease]


async def test_another_programs_database_is_refused_and_left_alone(url: str, clock: Clock) -> None:
    await run(url, "CREATE TABLE bookmarks (url text)")
    with pytest.raises(ConfigError, match="belongs to another program; nothing was changed"):
        async with open_store(url, clock):
            pass
    assert await change(url, lambda connection: inspect(connection).get_table_names()) == ["bookmarks"]


async def test_sessions_from_before_are_counted_for_what_they_claim(url: str, clock: Clock) -> None:
    """From the first schema, with more sessions than are filled at once."""

    def fill(connection: Connection) -> None:
        for number in range(1001):
            spec = SessionSpec(cpus=number / 100, memory_bytes=number << 30)
            session = Session(f"s{number}", f"n{number}", "alice", spec, DesiredState.RUNNING, 1, NOW, NOW, runner="r1")
            values = {"uid": session.uid, "name": session.name, "data": encode(session)}
            connection.execute(text(INSERT_FIRST), values)

    await at(url, "0001", fill)
    async with open_store(url, clock) as store, store.read() as view:
        sessions = await view.find(Session)
        expected = (1001, sum(s.cpu_claim for s in sessions), sum(s.memory_claim for s in sessions))
        assert await view.tally(Session, "runner", "cpu_claim", "memory_claim") == {"r1": expected}


async def test_addresses_that_docker_gave_have_no_owner_on_the_overlay(url: str, clock: Clock) -> None:
    """Two runners without overlay give the same ones."""

    def fill(connection: Connection) -> None:
        for number in range(2):
            session = Session(
                f"s{number}", f"n{number}", "alice", SessionSpec(), DesiredState.RUNNING, 1, NOW, NOW,
                address="172.30.0.2",
            )  # fmt: skip
            values = {"uid": session.uid, "name": session.name, "data": encode(session)}
            connection.execute(text(INSERT_FIRST), values)

    await at(url, "0002", fill)
    async with open_store(url, clock) as store:
        async with store.write("test") as tx:
            first, second = await tx.find(Session)
            assert {(s.address, s.overlay_address) for s in (first, second)} == {("172.30.0.2", "")}
            await tx.put(replace(first, overlay_address="10.128.0.2"))
            with pytest.raises(AlreadyExists, match=r"another session has the address 10\.128\.0\.2"):
                await tx.put(replace(second, overlay_address="10.128.0.2"))
        with pytest.raises(IntegrityError):
            await run(url, "UPDATE session SET overlay_address = '10.128.0.2'")


async def test_what_is_found_by_an_index_is_so_from_before_it(url: str, clock: Clock) -> None:
    """Keys of sessions, and tokens by who used them for what; tokens of runners that are gone go, too."""

    def fill(connection: Connection) -> None:
        for number in range(401):
            spec = SessionSpec(authorized_keys=(f"{ed25519(number)} me@here", ed25519(0)))
            session = Session(f"s{number}", f"n{number}", "alice", spec, DesiredState.RUNNING, 1, NOW, NOW)
            values = {"uid": session.uid, "name": session.name, "data": encode(session)}
            connection.execute(text(INSERT_FIRST), values)
        runner = Runner("r1", "lab1", NOW, NOW)
        connection.execute(text(INSERT_RUNNER), {"data": encode(runner)})
        for kid, purpose, by, what in (("a", "join", "k1", "r1"), ("b", "join", "", ""), ("c", "join", "k2", "r2")):
            credential = Credential(kid, purpose, "", "0" * 64, NOW, NOW, used_by=by, used_for=what)
            connection.execute(text(INSERT_CREDENTIAL), {"kid": kid, "data": encode(credential)})

    await at(url, "0003", fill)
    async with open_store(url, clock) as store, store.read() as view:
        found = await view.find(Session, key_fingerprints=fingerprint_of(ed25519(400)), name="n400")
        assert [session.uid for session in found] == ["s400"]
        assert len(await view.find(Session, key_fingerprints=fingerprint_of(ed25519(0)))) == 401
        assert [c.kid for c in await view.find(Credential, purpose="join", used_by="k1")] == ["a"]
        assert [c.kid for c in await view.find(Credential, purpose="join", used_by="")] == ["b"]
        assert [c.kid for c in await view.find(Credential)] == ["a", "b"]
        changed = replace(found[0], name="other")
    async with open_store(url, clock) as store, store.write("me") as tx:  # its values go along
        await tx.put(changed)
        assert await tx.find(Session, key_fingerprints=fingerprint_of(ed25519(400)), name="n400") == []


async def test_the_log_of_before_is_measured(url: str, clock: Clock) -> None:
    entries = [encode(User(f"u{number}", Role.USER, NOW, number)) for number in range(1, 4)]

    def fill(connection: Connection) -> None:
        for number, data in enumerate(entries, start=1):
            connection.execute(text(INSERT_LOG), {"revision": number, "data": data})
        connection.execute(text("UPDATE clock SET revision = 3"))

    await at(url, "0004", fill)
    size = len(entries[0].encode())
    async with open_store(url, clock) as store:
        async with store.write("me") as tx:
            await tx.put(User("u4", Role.USER, NOW))
            assert (tx.log_bytes, tx.appended) == (4 * size, size)
        assert await store.compact(1000, 2 * size) == 2
        assert [change.revision for change in await store.changes(2, 9)] == [3, 4]


async def test_runners_that_servers_added_for_their_own_machines_are_removed(url: str, clock: Clock) -> None:
    row, subnet = Runner("gw1", "gateway-box", NOW, NOW, revision=2), Lease("10.128.4.0/22", "gw1", 2, 2)
    data = encode(row).replace('"no_sessions":false', '"gateway_only":true')

    def fill(connection: Connection) -> None:
        connection.execute(text(INSERT_RUNNER), {"data": encode(Runner("r1", "lab1", NOW, NOW))})
        connection.execute(text(INSERT_RUNNER.replace("'r1', 'lab1'", "'gw1', 'gateway-box'")), {"data": data})
        for lease in (Lease("10.128.0.0/22", "r1", 1), subnet):
            values = {"key": lease.cidr, "runner": lease.runner, "data": encode(lease)}
            connection.execute(text(INSERT_LEASE), values)
        connection.execute(text("UPDATE clock SET revision = 2"))

    await at(url, "0005", fill)
    async with open_store(url, clock) as store:
        async with store.read() as view:
            assert [runner.uid for runner in await view.find(Runner)] == ["r1"]
            assert [lease.runner for lease in await view.find(Lease)] == ["r1"]
        changes = await store.changes(2, 9)
        assert [(change.revision, change.deleted, change.resource) for change in changes] == [
            (3, True, subnet),
            (4, True, row),
        ]
        async with store.write("me") as tx:
            assert tx.log_bytes == len(data) + len(encode(subnet))
            assert (await tx.put(Lease("10.128.4.0/22", "r2", 5))).revision == 5


async def test_sessions_from_before_are_found_by_their_rules(url: str, clock: Clock) -> None:
    policies = (
        SleepPolicy(),
        SleepPolicy(0.0, 0.0),
        SleepPolicy(lifetime=60.0),
        SleepPolicy(awake_hours="08:00-18:00"),
    )

    def fill(connection: Connection) -> None:
        for number, policy in enumerate(policies):
            spec = SessionSpec(sleep=policy)
            session = Session(f"s{number}", f"n{number}", "alice", spec, DesiredState.RUNNING, 1, NOW, NOW)
            data = encode(session) if number else encode(session).replace('"sleep"', '"before"')
            connection.execute(text(INSERT_0013), {"uid": session.uid, "name": session.name, "data": data})

    await at(url, "0013", fill)
    async with open_store(url, clock) as store, store.read() as view:
        assert [session.uid for session in await view.find(Session, sleep_rule=OWN_RULE)] == ["s2", "s3"]
        assert [s.uid for s in await view.find(Session) if s.sleep_rule == OWN_RULE] == ["s2", "s3"]


INSERT_LOG = """
INSERT INTO log (revision, kind, key, deleted, actor, time, data) VALUES (:revision, 'user', 'u', false, 'me', 0, :data)
"""
INSERT_RUNNER = "INSERT INTO runner (key, name, state, revision, data) VALUES ('r1', 'lab1', 'ONLINE', 1, :data)"
INSERT_LEASE = "INSERT INTO lease (key, runner, revision, data) VALUES (:key, :runner, 1, :data)"
INSERT_CREDENTIAL = """
INSERT INTO credential (key, purpose, subject, revision, data) VALUES (:kid, 'join', '', 1, :data)
"""
INSERT_FIRST = """
INSERT INTO session (key, name, owner, runner, state, desired, revision, data)
VALUES (:uid, :name, 'alice', 'r1', 'PENDING', 'RUNNING', 1, :data)
"""
INSERT_0013 = """
INSERT INTO session (key, name, owner, runner, state, desired, key_fingerprints, revision, data)
VALUES (:uid, :name, 'alice', 'r1', 'RUNNING', 'RUNNING', '', 1, :data)
"""


def _upgrade_to(connection: Connection, revision: str) -> None:
    command.upgrade(migrations(connection), revision)
