"""Leases of sessions, on the store in memory and on SQLite; the time of the database is that of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.store.views import SqlReader
from netvps.domain.access.accounts import Caller
from netvps.domain.scheduling.lease import LEASED, LOST, NamedLease, SessionLease
from netvps.domain.session.spec import SessionSpec
from netvps.errors import NotFound, WrongState
from tests.fakes.world import ALICE, BOB, ROOT, World

if TYPE_CHECKING:
    from datetime import datetime

Change = Callable[[World, Caller], Awaitable[object]]
CHANGES: list[Change] = [
    lambda world, caller: world.sessions.stop(caller, "job.alice"),
    lambda world, caller: world.sessions.start(caller, "job.alice"),
    lambda world, caller: world.sessions.delete(caller, "job.alice"),
    lambda world, caller: world.sessions.rename(caller, "job.alice", "other"),
    lambda world, caller: world.sessions.update(caller, "job.alice", SessionSpec(cpus=2), ["cpus"]),
    lambda world, caller: world.moves.move(caller, "job.alice"),
    lambda world, caller: world.snapshots.restore(caller, "job.alice", "one"),
]


@pytest.fixture(autouse=True)
async def _leasable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def now(_: SqlReader) -> datetime:
        return world.clock()

    monkeypatch.setattr(SqlReader, "now", now)
    await world.session("job")


def with_lease(caller: Caller, named: NamedLease) -> Caller:
    return replace(caller, lease=named.lease.epoch)


async def refused(change: Awaitable[object]) -> str:
    with pytest.raises(WrongState) as refusal:
        await change
    return refusal.value.reason


@pytest.mark.parametrize("change", CHANGES)
async def test_another_program_changes_nothing_of_a_leased_session(world: World, change: Change) -> None:
    held = await world.leases.acquire(ALICE, "job", "queue", 60)
    revision = await world.revision()
    for caller in (ALICE, ROOT):
        with pytest.raises(WrongState, match=r"is leased by queue \(user alice\) until .*: wait, or end") as refusal:
            await change(world, caller)
        assert refusal.value.reason == LEASED
    stale = with_lease(ALICE, replace(held, lease=replace(held.lease, epoch=held.lease.epoch - 1)))
    assert await refused(change(world, stale)) == LOST
    assert await world.revision() == revision


async def test_its_holder_changes_it_and_a_lease_ends_by_itself(world: World) -> None:
    held = with_lease(ALICE, await world.leases.acquire(ALICE, "job", "queue", 60))
    await world.sessions.stop(held, "job")
    world.clock.now += timedelta(seconds=60)
    assert await refused(world.sessions.start(held, "job")) == LOST
    with pytest.raises(NotFound, match="is not leased"):
        await world.leases.get(ALICE, "job")
    await world.sessions.start(ALICE, "job")


async def test_a_renewal_keeps_the_epoch_and_none_revives_an_ended_lease(world: World) -> None:
    first = (await world.leases.acquire(ALICE, "job", "queue", 60)).lease
    world.clock.now += timedelta(seconds=50)
    renewed = (await world.leases.acquire(ALICE, "job", "queue", 60, epoch=first.epoch)).lease
    assert (renewed.epoch, renewed.acquire_time) == (first.epoch, first.acquire_time)
    assert renewed.expire_time == world.clock() + timedelta(seconds=60)
    world.clock.now += timedelta(seconds=60)
    assert await refused(world.leases.acquire(ALICE, "job", "queue", 60, epoch=first.epoch)) == LOST


async def test_a_program_that_was_restarted_goes_on_and_its_predecessor_is_refused(world: World) -> None:
    before = await world.leases.acquire(ALICE, "job", "queue", 60)
    after = await world.leases.acquire(ALICE, "job", "queue", 60)
    assert after.lease.epoch > before.lease.epoch
    assert await refused(world.sessions.stop(with_lease(ALICE, before), "job")) == LOST
    await world.sessions.stop(with_lease(ALICE, after), "job")


async def test_another_holder_waits_or_forces(world: World) -> None:
    first = await world.leases.acquire(ALICE, "job", "queue", 60)
    assert await refused(world.leases.acquire(ALICE, "job", "bot", 60)) == LEASED
    assert await refused(world.leases.acquire(ROOT, "job.alice", "queue", 60)) == LEASED  # of another user
    taken = await world.leases.acquire(ROOT, "job.alice", "bot", 60, force=True)
    assert (taken.lease.user, taken.lease.epoch > first.lease.epoch) == ("root", True)
    assert await refused(world.leases.release(ALICE, "job", first.lease.epoch)) == LOST
    await world.leases.release(ALICE, "job", force=True)
    await world.sessions.stop(ALICE, "job")


async def test_of_many_programs_at_once_one_gets_it(world: World) -> None:
    tries = [world.leases.acquire(ALICE, "job", f"queue-{number}", 60) for number in range(8)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    (won,) = [one for one in results if isinstance(one, NamedLease)]
    assert [one.reason for one in results if isinstance(one, WrongState)] == [LEASED] * 7
    assert (await world.leases.get(ALICE, "job")).lease == won.lease


async def test_a_repeated_request_has_the_same_lease(world: World) -> None:
    first, second = [await world.leases.acquire(ALICE, "job", "queue", 60, request_id="r1") for _ in range(2)]
    assert first == second


async def test_a_lease_is_the_owners_business_and_goes_with_its_session(world: World) -> None:
    with pytest.raises(NotFound, match=r"no session job\.alice"):
        await world.leases.acquire(BOB, "job.alice", "x", 60)
    held = await world.leases.acquire(ALICE, "job", "queue", 60)
    await world.sessions.delete(with_lease(ALICE, held), "job")
    assert await world.rows(SessionLease) == []
