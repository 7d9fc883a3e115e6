from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Request, Role, User
from netvps.errors import AlreadyExists, NotFound
from netvps.services.idempotency import KEPT, Idempotency
from tests.fakes.world import ALICE, ROOT, World

if TYPE_CHECKING:
    from tests.fakes.clock import FakeClock
    from tests.fakes.store import MemoryStore


async def test_two_users_made_by_one_request_are_one(world: World) -> None:
    first = await world.access.create_user(ROOT, "carol", Role.USER, "r1")
    assert await world.access.create_user(ROOT, "carol", Role.USER, "r1") == first
    with pytest.raises(AlreadyExists, match="request_id 'r1' was used for user carol with other arguments"):
        await world.access.create_user(ROOT, "carol", Role.ADMIN, "r1")
    with pytest.raises(AlreadyExists, match="request_id 'r1' was used for user carol"):
        await world.access.delete_user(ROOT, "carol", "r1")


async def test_an_undone_transaction_keeps_no_request(world: World) -> None:
    with pytest.raises(NotFound):
        await world.access.delete_user(ROOT, "carol", "r1")
    await world.access.create_user(ROOT, "carol", Role.USER, "r1")


async def test_the_result_of_a_request_is_remembered_after_it_is_gone(world: World) -> None:
    made = await world.access.create_user(ROOT, "carol", Role.USER, "r1")
    await world.access.delete_user(ROOT, "carol", "r2")
    assert await world.access.create_user(ROOT, "carol", Role.USER, "r1") == made
    assert (await world.access.delete_user(ROOT, "carol", "r2")).name == "carol"
    assert await world.row(User, "carol") is None


async def test_a_result_that_is_gone_from_the_log_too_is_not_found(memory: MemoryStore, clock: FakeClock) -> None:
    world = World(memory, clock)
    await world.populate()
    await world.access.create_user(ROOT, "carol", Role.USER, "r1")
    await world.access.delete_user(ROOT, "carol")
    memory.horizon = memory.revision
    with pytest.raises(NotFound, match="user carol was made by this request, but is gone"):
        await world.access.create_user(ROOT, "carol", Role.USER, "r1")


async def test_old_requests_are_dropped_where_new_ones_come(world: World) -> None:
    for number in range(40):
        await world.access.create_user(ROOT, f"old{number}", Role.USER, f"r{number}")
    world.clock.advance(seconds=KEPT.total_seconds() + 1)
    for number in range(10):
        await world.access.create_user(ROOT, f"new{number}", Role.USER, f"n{number}")
    kept = await world.rows(Request)
    assert len(kept) == 10
    assert all(request.result_name.startswith("new") for request in kept)


async def test_without_an_id_nothing_is_kept(world: World) -> None:
    async with world.store.write("alice") as tx:
        once = Idempotency(tx, ALICE, "", world.clock(), "Method", 1)
        assert await once.earlier() is None
        await once.record(User("x", Role.USER, world.clock()), "x")
    assert await world.rows(Request) == []
