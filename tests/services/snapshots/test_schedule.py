"""Snapshots by schedule, with a clock that tests move."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotState
from netvps.services.snapshots.schedule import MAX_PER_RUNNER, SnapshotSchedule
from tests.fakes.world import ALICE
from tests.services.snapshots.taking import TAKES, ready, running

if TYPE_CHECKING:
    from tests.fakes.clock import FakeClock
    from tests.fakes.world import World

HOURLY = SnapshotPolicy(every=3600.0, keep=2)


async def _scheduled(world: World, name: str = "dev1") -> Session:
    return await running(world, name, SessionSpec(image="debian:12", snapshot_policy=HOURLY))


def _schedule(world: World) -> SnapshotSchedule:
    return SnapshotSchedule(world.store, world.clock, world.new_uid)


async def _made(world: World) -> list[Snapshot]:
    return sorted(await world.rows(Snapshot), key=lambda one: one.create_time)


async def test_each_slot_has_one_snapshot_also_across_a_restart(world: World, clock: FakeClock) -> None:
    await _scheduled(world)
    schedule = _schedule(world)
    assert await schedule.take_due() == 0  # it is new
    for hour in range(1, 4):
        clock.advance(hours=1)
        assert await schedule.take_due() == 1
        assert await schedule.take_due() == 0
        assert await _schedule(world).take_due() == 0  # of a server that was started again
        for snapshot in await _made(world):
            if snapshot.state is SnapshotState.CREATING:
                await ready(world, snapshot)
        kept = [one for one in await _made(world) if one.state is SnapshotState.READY]
        assert len(kept) == min(hour, 2)
        assert {(one.cause, one.automatic) for one in kept} == {("SCHEDULE", True)}


async def test_slots_that_a_server_missed_are_one_snapshot(world: World, clock: FakeClock) -> None:
    await _scheduled(world)
    clock.advance(days=3)
    schedule = _schedule(world)
    assert [await schedule.take_due() for _ in range(3)] == [1, 0, 0]


@pytest.mark.parametrize("state", [SessionState.STOPPED, SessionState.PAUSED])
async def test_a_session_that_does_not_run_has_nothing_to_save(
    world: World, clock: FakeClock, state: SessionState
) -> None:
    session = await _scheduled(world)
    async with world.store.write("test") as tx:
        await tx.put(replace(session, state=state))
    clock.advance(hours=2)
    assert await _schedule(world).take_due() == 0


async def test_a_runner_that_is_away_is_asked_when_it_is_back(world: World, clock: FakeClock) -> None:
    session = await _scheduled(world)
    schedule = _schedule(world)
    clock.advance(hours=2)
    await world.runners.offline(session.runner)
    assert await schedule.take_due() == 0
    await world.runners.online(session.runner, TAKES)
    await world.reported(session, SessionState.RUNNING)
    assert await schedule.take_due() == 1


async def test_a_runner_is_asked_for_a_few_at_a_time(world: World, clock: FakeClock) -> None:
    names = [f"dev{number}" for number in range(MAX_PER_RUNNER + 2)]
    for name in names:
        await _scheduled(world, name)
    clock.advance(hours=2)
    schedule = _schedule(world)
    assert [await schedule.take_due() for _ in range(3)] == [MAX_PER_RUNNER, 2, 0]
    assert {one.session_name for one in await _made(world)} == set(names)


async def test_one_that_was_deleted_by_hand_is_not_taken_twice(world: World, clock: FakeClock) -> None:
    await _scheduled(world)
    clock.advance(hours=1)
    schedule = _schedule(world)
    await schedule.take_due()
    (snapshot,) = await _made(world)
    await ready(world, snapshot)
    await world.snapshots.delete(ALICE, "dev1", snapshot.id)
    assert await schedule.take_due() == 0
