"""Faults of PostgreSQL, and two servers on one of its databases."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from netvps.adapters.store import open_store
from netvps.adapters.store.dialects import postgresql
from netvps.adapters.store.dialects.postgresql import Postgresql
from netvps.adapters.store.dialects.url import dialect_of
from netvps.domain.access.accounts import Caller, Role, User
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.runner import Capacity, Lease, Runner, RunnerHello
from netvps.domain.session.event import EventType
from netvps.domain.session.session import Session
from netvps.domain.session.spec import SessionSpec
from netvps.errors import ConfigError, DataLoss, Exhausted, InternalError, NetvpsError, Unavailable
from netvps.process import clock as real_clock
from netvps.services.feed import Feed
from netvps.services.runners.runners import Runners
from netvps.services.sessions.progress import Progress
from netvps.services.sessions.sessions import Sessions
from netvps.services.sessions.watch import Watch
from netvps.settings.secret_files import read_secret
from netvps.tasks import Tasks
from tests.fakes.ca import FakeCa
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path

    from netvps.adapters.store import SqlStore
    from tests.support.postgres import Cluster

ALICE = Caller("alice", Role.USER)


class DriverError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("what happened")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", Exhausted),
        ("53300", Unavailable),
        ("57P01", Unavailable),
        ("55P03", Unavailable),
        ("40001", Unavailable),
        ("08006", Unavailable),
        ("28P01", ConfigError),
        ("3D000", ConfigError),
        ("42501", ConfigError),
        ("25006", Unavailable),
        ("XX001", DataLoss),
        ("23505", InternalError),
    ],
)
def test_states_go_by_their_class(state: str, kind: type[NetvpsError]) -> None:
    error = DBAPIError("SELECT 1", None, DriverError(state))
    assert type(Postgresql(make_url("postgresql://db/netvps")).explain(error)) is kind


async def test_a_server_that_is_away_is_unavailable(tmp_path: Path, clock: Callable[[], datetime]) -> None:
    with pytest.raises(Unavailable, match=f"database netvps at {tmp_path}: cannot connect to the database"):
        async with open_store(f"postgresql://me@/netvps?host={tmp_path}", clock):
            pass


@pytest.mark.postgres
async def test_of_several_hosts_the_one_that_is_there_is_used(database: str, tmp_path: Path) -> None:
    url = database.replace("?host=", f"?host={tmp_path}:5432&host=") + ":5432"
    async with open_store(url, real_clock.now) as store:
        await add_alice(store)
    assert f"at {tmp_path}:5432 or /" in dialect_of(url).place


@pytest.mark.postgres
async def test_a_database_that_is_not_there_is_a_config_error(
    request: pytest.FixtureRequest, clock: Callable[[], datetime]
) -> None:
    url: str = request.getfixturevalue("cluster").create_database()
    with pytest.raises(ConfigError, match=r"refuses this program \(SQLSTATE 3D000\); check its URL"):
        async with open_store(url.replace("/netvps_", "/nothing_"), clock):
            pass


async def restart(cluster: Any, mode: str) -> None:
    data = str(cluster.folder / "data")
    await asyncio.to_thread(cluster._run, "pg_ctl", "-D", data, "-m", mode, "-w", "restart")


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """URL of an empty one."""
    return str(request.getfixturevalue("cluster").create_database())


@pytest.fixture
async def servers(database: str) -> AsyncIterator[list[SqlStore]]:
    """Stores of two servers on one database, with alice in it."""
    async with open_store(database, real_clock.now) as one, open_store(database, real_clock.now) as two:
        await add_alice(one)
        yield [one, two]


def sessions_of(store: SqlStore) -> Sessions:
    return Sessions(store, real_clock.now, real_clock.new_uid, "debian:12")


async def create(store: SqlStore, name: str, request_id: str) -> Session:
    return await sessions_of(store).create(ALICE, session_id=name, owner="", spec=SessionSpec(), request_id=request_id)


async def create_persistently(servers: list[SqlStore], name: str, refusals: list[str]) -> Session:
    """As a good client does it: with one request id, at one server or the other, until it has the answer."""
    for store in itertools.cycle(servers):
        try:
            return await create(store, name, name)
        except Unavailable as error:
            refusals.append(error.message)
            await asyncio.sleep(0.02)
    raise AssertionError


async def all_sessions(store: SqlStore) -> dict[str, str]:
    async with store.read() as view:
        return {session.uid: session.name for session in await view.find(Session)}


async def check_log(store: SqlStore, puts: int) -> None:
    """It has no gap, and so many entries are of sessions."""
    log = await store.changes(0, 100_000)
    assert [change.revision for change in log] == list(range(1, len(log) + 1))
    assert len([change for change in log if isinstance(change.resource, Session)]) == puts


@pytest.mark.postgres
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_under_load_loses_and_doubles_nothing(
    request: pytest.FixtureRequest, servers: list[SqlStore], mode: str
) -> None:
    """Calls in flight get Unavailable; whether it was committed, the request id finds out. The pools recover."""
    acknowledged: dict[str, str] = {}
    refusals: list[str] = []
    enough = asyncio.Event()

    async def client(number: int) -> None:
        for turn in itertools.count():
            session = await create_persistently(servers, f"c{number}-{turn}", refusals)
            acknowledged[session.uid] = session.name
            if enough.is_set():
                return

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(client(number))
        for _ in range(2):
            before = len(acknowledged)
            while len(acknowledged) < before + 20:
                await asyncio.sleep(0.01)
            await restart(request.getfixturevalue("cluster"), mode)
        enough.set()
    assert refusals  # the restart was felt
    for store in servers:
        assert await all_sessions(store) == acknowledged
        await check_log(store, puts=len(acknowledged))


async def broken_write(store: SqlStore, other: SqlStore) -> None:
    """All connections but one of `other` are ended half-way."""
    kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()")
    async with store.write("test") as tx:
        await tx.put(User("bob", Role.USER, real_clock.now()))
        async with other._writer.one() as connection:
            await connection.run(kill)
        await tx.put(User("carol", Role.USER, real_clock.now()))


@pytest.mark.postgres
async def test_a_connection_that_was_killed_is_unavailable_once(servers: list[SqlStore]) -> None:
    """In the middle of a transaction; nothing of it stays."""
    one, other = servers
    with pytest.raises(Unavailable, match=r"is unavailable or busy|cannot connect to the database"):
        await broken_write(one, other)
    for store in servers:
        async with store.read() as view:
            assert [user.name for user in await view.find(User)] == ["alice"]
    await create(one, "dev1", "r1")


@pytest.mark.postgres
async def test_one_request_at_two_servers_has_one_effect_and_one_answer(servers: list[SqlStore]) -> None:
    """Twenty at once, half of them at each; the session has no chosen name."""
    answers = await asyncio.gather(*(create(servers[number % 2], "", "r1") for number in range(20)))
    assert len({answer.uid for answer in answers}) == 1
    assert await all_sessions(servers[0]) == {answers[0].uid: answers[0].name}
    await check_log(servers[1], puts=1)


@pytest.mark.postgres
async def test_who_watches_at_one_server_hears_of_the_other_in_order(servers: list[SqlStore]) -> None:
    feed = Feed(servers[1])
    async with asyncio.timeout(PATIENCE), Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        async with aclosing(Watch(servers[1], feed, real_clock.now).sessions(ALICE, "", 0)) as events:
            assert (await anext(events)).type is EventType.CAUGHT_UP
            made = [await create(servers[number % 2], f"dev{number}", "") for number in range(10)]
            heard = [(await anext(events)).session for _ in made]
    assert heard == made


@pytest.mark.postgres
async def test_no_session_waits_once_a_runner_has_come_whichever_server_was_asked(servers: list[SqlStore]) -> None:
    """Sessions are made at both while the runner comes to one: each is placed by its own create, or by the arrival."""
    one, other = servers
    uid = real_clock.new_uid()
    async with one.write("test") as tx:
        await tx.put(Runner(uid, "box1", real_clock.now(), real_clock.now()))
        await tx.put(Lease("10.0.0.0/22", uid, 1))
    overlay_settings = OverlaySettings("c")
    runners = Runners(
        one, real_clock.now, FakeCa(), progress=Progress(one, Feed(one)), overlay_settings=overlay_settings
    )

    async def make(store: SqlStore, half: str) -> None:
        for number in range(10):
            await create(store, f"{half}{number}", "")

    async def come() -> None:
        while len(await all_sessions(other)) < 6:
            await asyncio.sleep(0)
        await runners.online(uid, RunnerHello("instance", "1.0", Capacity(cpus=8, memory_bytes=16 << 30)))

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for work in (make(one, "a"), make(other, "b"), come()):
            group.create_task(work)
    async with other.read() as view:
        assert [(s.runner, s.epoch) for s in await view.find(Session)] == [(uid, 1)] * 20
        assert await view.tally(Session, "runner") == {uid: (20,)}


@pytest.mark.postgres
async def test_a_database_that_is_slow_is_waited_for_within_bounds(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "PATIENCE", 1.0)
    async with open_store(database, real_clock.now) as one, open_store(database, real_clock.now) as other:
        async with other.write("slow"):
            async with one.read() as view:
                assert view.revision == 0
            with pytest.raises(Unavailable, match=r"is unavailable or busy \(SQLSTATE 55P03\); try again"):
                await add_alice(one)
        await add_alice(one)


@pytest.mark.postgres
async def test_a_connection_to_what_was_the_primary_is_left(database: str) -> None:
    """Where one survives a failover it takes no writes any more; the next one goes to the primary of then."""
    async with open_store(database, real_clock.now) as store:
        async with store._writer.one() as connection:
            await connection.run(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
            await connection.commit()
        with pytest.raises(Unavailable, match=r"is unavailable or busy \(SQLSTATE 25006\); try again"):
            await add_alice(store)
        await add_alice(store)


@pytest.mark.postgres
async def test_a_standby_is_no_database_to_work_on_until_it_is_the_primary(
    request: pytest.FixtureRequest, database: str
) -> None:
    cluster = request.getfixturevalue("cluster")
    async with open_store(database, real_clock.now) as store:
        signal = cluster.folder / "data" / "standby.signal"
        signal.touch()
        try:
            await restart(cluster, "fast")
            with pytest.raises(Unavailable, match="no host of its URL is the primary, which accepts writes"):
                await add_alice(store)
        finally:
            signal.unlink()
            await restart(cluster, "fast")
        await add_alice(store)


async def add_alice(store: SqlStore) -> None:
    async with store.write("test") as tx:
        await tx.put(User("alice", Role.USER, real_clock.now()))


@pytest.mark.postgres
async def test_a_password_changes_without_a_restart(cluster: Cluster, tmp_path: Path) -> None:
    """New connections use that of the file, or the last good one while the file is damaged."""
    database = make_url(cluster.create_database())
    rules = cluster.folder / "data/pg_hba.conf"
    before = rules.read_text()
    file = tmp_path / "url"

    async def admin(*statements: str) -> None:
        engine = create_async_engine(database.set(drivername="postgresql+asyncpg"))
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()

    def write(password: str) -> None:
        url = database.set(username="rotated", password=password)
        file.write_text(url.render_as_string(hide_password=False))

    async def connects() -> bool:
        engine = dialect.reader()
        try:
            await engine.transaction(lambda connection: connection.execute(text("SELECT 1")))
        except DBAPIError as error:
            assert isinstance(dialect.explain(error), ConfigError)
            return False
        finally:
            await engine.dispose()
        return True

    write("one")
    dialect = dialect_of(file.read_text(), lambda: read_secret(file, "database_url_file"))
    await admin("CREATE ROLE rotated LOGIN PASSWORD 'one'")
    try:
        rules.write_text(f"local all rotated scram-sha-256\n{before}")
        await admin("SELECT pg_reload_conf()")
        while not await connects():
            await asyncio.sleep(0.02)
        await admin("ALTER ROLE rotated PASSWORD 'two'")
        assert not await connects()
        write("two")
        assert await connects()
        for damaged in ("", "two"):
            file.write_text(damaged)
            assert await connects()
    finally:
        rules.write_text(before)
        await admin("SELECT pg_reload_conf()", "DROP ROLE rotated")
