"""Who may watch what, and that a watch follows sessions to their runners."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest

from netvps.domain.metrics import MACHINE, Measurement
from netvps.domain.session.session import SessionState
from netvps.errors import NotFound
from netvps.services.metrics import Metrics
from netvps.services.ports import Received
from tests.fakes.world import ALICE, BOB, ROOT, World
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from netvps.domain.access.accounts import Caller
    from netvps.domain.metrics import MetricSample
    from netvps.domain.session.session import Session
    from netvps.errors import NetvpsError

USED = Measurement(1.0, 2)


class Source:
    """One inbox, whose targets the test sees."""

    def __init__(self) -> None:
        self.targets: frozenset[tuple[str, str]] = frozenset()
        self.opened = 0
        self._waiting: asyncio.Queue[list[Received] | NetvpsError] = asyncio.Queue()
        self._news = asyncio.Condition()

    @contextmanager
    def open(self) -> Iterator[Source]:
        self.opened += 1
        try:
            yield self
        finally:
            self.opened -= 1

    def follow(self, targets: frozenset[tuple[str, str]]) -> None:
        self.targets = targets

    async def next(self) -> list[Received]:
        item = await self._waiting.get()
        if isinstance(item, list):
            return item
        raise item

    def end(self, error: NetvpsError) -> None:
        self._waiting.put_nowait(error)

    def measure(self, world: World) -> None:
        """All targets, and one that was not asked for."""
        self._waiting.put_nowait([Received(each, world.clock(), USED) for each in (*sorted(self.targets), ("x", "y"))])

    async def until(self, *targets: tuple[str, str]) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.targets != frozenset(targets):
                await asyncio.sleep(0.001)


@asynccontextmanager
async def watching(
    world: World,
    caller: Caller,
    *,
    sessions: tuple[str, ...] = (),
    runners: tuple[str, ...] = (),
    parent: str = "",
) -> AsyncIterator[tuple[Source, AsyncGenerator[list[MetricSample], None], asyncio.Task[list[MetricSample]]]]:
    """The source, the watch, and its first message, which waits."""
    source = Source()
    async with aclosing(
        Metrics(world.store, world.feed, 0.0).watch(caller, sessions, runners, parent, source)
    ) as watch:
        first = asyncio.ensure_future(anext(watch))
        try:
            yield source, watch, first
        finally:
            first.cancel()
            await asyncio.wait([first])
    assert source.opened == 0


async def running(world: World, name: str, caller: Caller = ALICE) -> Session:
    return await world.reported(await world.session(name, caller), SessionState.RUNNING)


async def test_named_sessions_and_runners(world: World) -> None:
    runner = await world.runner()
    one = await running(world, "dev1")
    await running(world, "dev2")
    async with watching(world, ALICE, sessions=("dev1",), runners=("lab1",)) as (source, _, first):
        await source.until((runner.uid, one.uid), (runner.uid, MACHINE))
        source.measure(world)
        assert {sample.name: sample.measured for sample in await first} == {
            "sessions/dev1.alice": USED,
            "runners/lab1": USED,
        }


async def test_a_session_is_followed_while_it_runs_and_the_watch_ends_with_the_last_one(world: World) -> None:
    runner = await world.runner()
    session = await world.session("dev1")
    async with watching(world, ALICE, sessions=("dev1.alice",)) as (source, _, first):
        await source.until()
        await world.reported(session, SessionState.RUNNING)
        await source.until((runner.uid, session.uid))
        await world.sessions.stop(ALICE, "dev1")
        await world.reported(session, SessionState.STOPPED)
        await source.until()
        await world.sessions.delete(ALICE, "dev1")
        await world.reported(session, SessionState.DELETED)
        with pytest.raises(NotFound, match="deleted"):
            await first


async def test_sessions_of_a_parent_come_and_go(world: World) -> None:
    runner = await world.runner()
    one = await running(world, "dev1")
    async with watching(world, ALICE) as (source, _, _), watching(world, ROOT, parent="-") as (all_of_them, _, _):
        await source.until((runner.uid, one.uid))
        two, other = await running(world, "dev2"), await running(world, "dev1", BOB)
        await source.until((runner.uid, one.uid), (runner.uid, two.uid))
        await all_of_them.until((runner.uid, one.uid), (runner.uid, two.uid), (runner.uid, other.uid))
        await world.sessions.delete(ALICE, "dev1")
        await world.reported(one, SessionState.DELETED)
        await source.until((runner.uid, two.uid))


@pytest.mark.parametrize(
    ("names", "parent"),
    [({"sessions": ("dev1.bob",)}, ""), ({"sessions": ("other",)}, ""), ({"runners": ("lab9",)}, ""), ({}, "bob")],
)
async def test_what_a_user_may_not_see_is_not_found(
    world: World, names: dict[str, tuple[str, ...]], parent: str
) -> None:
    await world.runner()
    await running(world, "dev1", BOB)
    async with watching(world, ALICE, **names, parent=parent) as (_, _, first):
        with pytest.raises(NotFound):
            await first


async def test_a_watch_says_that_there_is_nothing(world: World) -> None:
    metrics = Metrics(world.store, world.feed, 0.0, patience=0.01)
    async with aclosing(metrics.watch(ALICE, [], [], "", Source())) as watch:
        assert [await anext(watch), await anext(watch)] == [[], []]
