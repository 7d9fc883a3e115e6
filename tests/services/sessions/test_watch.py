from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.sharing import ShareRole
from netvps.domain.session.session import SessionState
from netvps.errors import NotFound, TooOld
from netvps.services.sessions.watch import EventType, Watch
from netvps.tasks import Tasks
from tests.fakes.world import ALICE, BOB, ROOT, World
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.session.event import SessionEvent
    from netvps.services.feed import Feed
    from netvps.services.ports import Reader, Store
    from tests.fakes.clock import FakeClock
    from tests.fakes.store import MemoryStore


async def _take(events: AsyncIterator[SessionEvent], count: int) -> list[str]:
    """Events in short: "PUT dev1.alice PENDING"."""
    async with asyncio.timeout(PATIENCE):
        return [_short(await anext(events)) for _ in range(count)]


def _short(event: SessionEvent) -> str:
    if event.session is None:
        return event.type
    assert event.revision == event.session.revision
    return f"{event.type} {event.session.full_name} {event.session.state}"


async def test_the_list_then_news_then_the_end_of_a_session(world: World) -> None:
    await world.session("dev1")
    async with aclosing(world.watch.sessions(ALICE, "", 0)) as events:
        assert await _take(events, 2) == ["PUT dev1.alice PENDING", "CAUGHT_UP"]
        await world.session("dev2")
        await world.session("dev3", BOB)
        await world.sessions.stop(ALICE, "dev1")
        await world.sessions.delete(ALICE, "dev1")
        assert await _take(events, 3) == [
            "PUT dev2.alice PENDING",
            "PUT dev1.alice STOPPED",
            "DELETED dev1.alice DELETED",
        ]


async def test_an_admin_follows_all_and_a_user_only_their_own(world: World) -> None:
    async with (
        aclosing(world.watch.sessions(ROOT, "-", 0)) as all_events,
        aclosing(world.watch.sessions(ALICE, "-", 0)) as own,
    ):
        assert await _take(all_events, 1) + await _take(own, 1) == ["CAUGHT_UP", "CAUGHT_UP"]
        await world.session("x", BOB)
        await world.session("y", ALICE)
        assert await _take(all_events, 2) == ["PUT x.bob PENDING", "PUT y.alice PENDING"]
        assert await _take(own, 1) == ["PUT y.alice PENDING"]


async def test_all_watchers_get_the_same_object(world: World) -> None:
    """So that it is turned into a message once, for a thousand."""
    async with (
        aclosing(world.watch.sessions(ROOT, "-", 0)) as one,
        aclosing(world.watch.sessions(ALICE, "-", 0)) as other,
    ):
        assert await _take(one, 1) == await _take(other, 1)
        for number in range(40):  # more than are remembered
            await world.session(f"dev{number}")
            reported = [await anext(one), await anext(other)]
            assert reported[0] is reported[1]
            assert _short(reported[0]) == f"PUT dev{number}.alice PENDING"


async def test_a_foreign_parent_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match=r"^no user bob: see netvps user ls$"):
        await anext(world.watch.sessions(ALICE, "bob", 0))


async def test_a_break_is_bridged_from_the_last_revision(world: World) -> None:
    await world.session("dev1")
    async with aclosing(world.watch.sessions(ALICE, "", 0)) as events:
        last = [await anext(events), await anext(events)][-1]
    await world.session("dev2")
    await world.session("dev1", BOB)
    await world.sessions.delete(ALICE, "dev1")
    async with aclosing(world.watch.sessions(ALICE, "", last.revision)) as events:
        assert await _take(events, 3) == ["PUT dev2.alice PENDING", "DELETED dev1.alice DELETED", "CAUGHT_UP"]
        await world.sessions.stop(ALICE, "dev2")
        assert await _take(events, 1) == ["PUT dev2.alice STOPPED"]


async def test_a_revision_of_another_log_is_too_old(world: World) -> None:
    with pytest.raises(TooOld, match="is later than the current"):
        await anext(world.watch.sessions(ALICE, "", await world.revision() + 1))


async def test_a_revision_that_was_compacted_is_too_old(memory: MemoryStore, clock: FakeClock) -> None:
    world = World(memory, clock)
    await world.populate()
    await world.session()
    memory.horizon = memory.revision - 1
    async with Tasks() as tasks:
        tasks.start(world.feed.run(), name="feed")
        with pytest.raises(TooOld, match="list again, then watch"):
            await anext(world.watch.sessions(ALICE, "", memory.horizon - 1))


async def test_a_long_absence_is_read_in_chunks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.services.follow._CHUNK", 3)
    start = await world.revision()
    for number in range(10):
        await world.session(f"dev{number}")
    async with aclosing(world.watch.sessions(ALICE, "", start)) as events:
        assert await _take(events, 11) == [f"PUT dev{number}.alice PENDING" for number in range(10)] + ["CAUGHT_UP"]


class _BusyStore:
    """A writer writes between any two steps of a reader."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._count = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._world.store, name)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Reader]:
        await self._write()
        async with self._world.store.read() as reader:
            await self._write()
            yield reader
        await self._write()

    async def _write(self) -> None:
        self._count += 1
        await self._world.session(f"s{self._count}")


@pytest.mark.parametrize("resumed", [False, True])
async def test_no_change_is_missed_or_doubled_while_others_write(world: World, resumed: bool) -> None:
    store: Store = _BusyStore(world)  # type: ignore[assignment]
    feed: Feed = world.feed
    start = await world.revision() if resumed else 0
    seen: list[str] = []
    async with (
        aclosing(Watch(store, feed, world.clock).sessions(ALICE, "", start)) as events,
        asyncio.timeout(PATIENCE),
    ):
        async for event in events:
            if event.session is not None:
                seen.append(event.session.name)
            elif event.type is EventType.CAUGHT_UP:
                await world.session("last")
            if seen and seen[-1] == "last":
                break
    listed = await world.sessions.list(ALICE, page_size=1000)
    (last,) = [session.revision for session in listed.items if session.name == "last"]
    assert sorted(seen) == sorted(session.name for session in listed.items if session.revision <= last)
    assert len(seen) == len(set(seen)) >= 4
    assert {session.state for session in listed.items} == {SessionState.PENDING}


async def test_a_list_may_take_longer_than_the_queue_of_the_feed(world: World) -> None:
    """Its reader is slow, while more changes come than wait for anybody."""
    for name in ("a", "b", "c"):
        await world.session(name)
    feed = world.feed
    watch = Watch(world.store, feed, world.clock)
    async with aclosing(watch.sessions(ALICE, "", 0)) as events:
        assert await _take(events, 1) == ["PUT a.alice PENDING"]
        feed._queue_length = 2
        for _ in range(20):
            await world.sessions.stop(ALICE, "b")
            await world.sessions.start(ALICE, "b")
        assert await _take(events, 3) == ["PUT b.alice PENDING", "PUT c.alice PENDING", "CAUGHT_UP"]
        assert await _take(events, 40) == ["PUT b.alice STOPPED", "PUT b.alice PENDING"] * 20
        await world.sessions.stop(ALICE, "c")
        assert await _take(events, 1) == ["PUT c.alice STOPPED"]


async def test_what_is_shared_is_watched_and_what_changes_that_ends_the_watch(world: World) -> None:
    await world.session("dev1")
    await world.session("dev2")
    await world.shares.put(ALICE, "dev1", "bob", ShareRole.VIEW)
    again = await world.revision()
    for parent in ("-", "alice"):
        async with aclosing(world.watch.sessions(BOB, parent, 0)) as events:
            assert await _take(events, 2) == ["PUT dev1.alice PENDING", "CAUGHT_UP"]
            await world.sessions.stop(ALICE, "dev2")
            await world.sessions.stop(ALICE, "dev1")
            assert await _take(events, 1) == ["PUT dev1.alice STOPPED"]
            await world.shares.put(ALICE, "dev2", "bob", ShareRole.VIEW)
            with pytest.raises(TooOld, match="other sessions are shared with you now"):
                await _take(events, 1)
        for name in ("dev1", "dev2"):
            await world.sessions.start(ALICE, name)
        await world.shares.delete(ALICE, "dev2", "bob")
    await world.shares.delete(ALICE, "dev1", "bob")
    async with aclosing(world.watch.sessions(BOB, "-", again)) as events:
        with pytest.raises(TooOld):
            await _take(events, 1)
    with pytest.raises(NotFound):
        await anext(world.watch.sessions(BOB, "alice", 0))


async def test_a_wait_ends_with_the_state(world: World) -> None:
    await world.session("dev1")
    assert (await world.watch.until(ALICE, "dev1", {SessionState.PENDING}, 5))[1]
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(world.watch.until(ALICE, "dev1", {SessionState.STOPPED}, 5))
        await asyncio.sleep(0)
        await world.sessions.stop(ALICE, "dev1")
    session, reached = waiting.result()
    assert (session.state, reached) == (SessionState.STOPPED, True)


async def test_a_wait_ends_early_where_the_state_does_not_come_and_late_with_its_time(world: World) -> None:
    await world.session("dev1")
    session, reached = await world.watch.until(ALICE, "dev1", {SessionState.RUNNING}, 0.01)
    assert (session.state, reached) == (SessionState.PENDING, False)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(world.watch.until(ALICE, "dev1", {SessionState.RUNNING}, 5))
        while not world.watch.watchers:
            await asyncio.sleep(0)
        await world.sessions.delete(ALICE, "dev1")
    session, reached = waiting.result()
    assert (session.state, reached) == (SessionState.DELETED, False)
    assert world.watch.watchers == 0
    with pytest.raises(NotFound):
        await world.watch.until(BOB, "dev1", {SessionState.RUNNING}, 5)
