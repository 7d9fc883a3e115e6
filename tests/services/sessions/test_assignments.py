from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.runner.runner import CaughtUp
from netvps.domain.session.lifecycle import place
from netvps.domain.session.session import Assignment, SessionState, SnapshotImage
from netvps.domain.snapshot.copies import CopyOrder
from netvps.domain.task.task import TaskOrder
from netvps.services.feed import Feed, Topic
from netvps.services.sessions.assignments import follow
from netvps.tasks import Tasks
from tests.fakes.world import ALICE
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.world import World


async def _take(items: AsyncIterator[Assignment | CopyOrder | TaskOrder | CaughtUp], count: int) -> list[str]:
    """In short: "dev1 epoch 1 generation 1 RUNNING"."""
    found = []
    async with asyncio.timeout(PATIENCE):
        for _ in range(count):
            item = await anext(items)
            assert not isinstance(item, CopyOrder | TaskOrder)
            found.append(
                "CAUGHT_UP"
                if isinstance(item, CaughtUp)
                else f"{item.session_id} epoch {item.epoch} generation {item.generation} {item.desired}"
            )
    return found


async def test_the_list_then_what_is_wanted_next_and_no_echo_of_reports(world: World) -> None:
    runner = await world.runner()
    session = await world.session("dev1")
    async with aclosing(follow(world.store, world.feed, runner.uid)) as items:
        assert await _take(items, 2) == ["dev1 epoch 1 generation 1 RUNNING", "CAUGHT_UP"]
        for state in (SessionState.PREPARING, SessionState.STARTING, SessionState.RUNNING):
            await world.reported(session, state)
        await world.sessions.stop(ALICE, "dev1")
        await world.session("dev2")
        await world.sessions.delete(ALICE, "dev1")
        await world.reported(session, SessionState.DELETED)
        await world.sessions.stop(ALICE, "dev2")
        assert await _take(items, 4) == [
            "dev1 epoch 1 generation 2 STOPPED",
            "dev2 epoch 1 generation 1 RUNNING",
            "dev1 epoch 1 generation 3 DELETED",
            "dev2 epoch 1 generation 2 STOPPED",
        ]


async def test_a_snapshot_that_was_recorded_is_reported(world: World) -> None:
    runner = await world.runner()
    session = await world.session("dev1")
    await world.sessions.stop(ALICE, "dev1")
    snapshot = SnapshotImage("s", session.uid, "image", "sha256:1", 5, 1, "lab1", 2, world.clock.now)
    async with aclosing(follow(world.store, world.feed, runner.uid)) as items:
        await _take(items, 2)
        async with world.store.write("test") as tx:
            await tx.put(replace(await world.sessions.get(ALICE, "dev1"), snapshot=snapshot))
        item = await anext(items)
        assert isinstance(item, Assignment)
        assert item.snapshot == snapshot


async def test_only_the_runners_own_sessions_and_the_whole_list_from_any_revision(world: World) -> None:
    first = await world.runner("lab1")
    await world.session("dev1")
    second = await world.runner("lab2")
    await world.session("dev2")
    for runner, name in ((first, "dev1"), (second, "dev2")):
        async with aclosing(follow(world.store, world.feed, runner.uid)) as items:
            assert await _take(items, 2) == [f"{name} epoch 1 generation 1 RUNNING", "CAUGHT_UP"]


async def test_a_runner_that_falls_behind_gets_its_list_again(world: World) -> None:
    runner = await world.runner()
    feed = Feed(world.store, queue_length=2)
    async with Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        async with aclosing(follow(world.store, feed, runner.uid)) as items, feed.subscribe(Topic()) as all_news:
            assert await _take(items, 1) == ["CAUGHT_UP"]
            for number in range(4):
                await world.session(f"dev{number}")
                await anext(all_news)
            names = [f"dev{number} epoch 1 generation 1 RUNNING" for number in range(4)]
            assert await _take(items, 5) == [*names, "CAUGHT_UP"]


async def test_a_session_that_moves_away_is_seen_by_the_next_list(world: World) -> None:
    runner = await world.runner("lab1")
    session = await world.session("dev1")
    other = await world.runner("lab2")
    async with aclosing(follow(world.store, world.feed, runner.uid)) as items:
        await _take(items, 2)
        async with world.store.write("test") as tx:
            await tx.put(place(session, other, world.clock()))
        assert await _take(items, 1) == ["CAUGHT_UP"]
