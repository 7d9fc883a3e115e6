from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.sharing import Right, ShareRole
from netvps.errors import NotPermitted
from netvps.services.sharing.guard import ShareGuard
from tests.fakes.world import ALICE
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.world import World


async def _forever(closed: asyncio.Event) -> AsyncIterator[int]:
    try:
        yield 1
        await asyncio.Event().wait()
    finally:
        closed.set()


async def _two() -> AsyncIterator[int]:
    yield 1
    yield 2


@pytest.fixture
def guard(world: World) -> ShareGuard:
    return ShareGuard(world.store, world.clock, world.feed)


@pytest.mark.parametrize("how", ["unshare", "role"])
async def test_a_stream_ends_when_its_share_does(world: World, guard: ShareGuard, how: str) -> None:
    await world.session()
    share = (await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE)).share
    closed = asyncio.Event()
    items = _forever(closed)
    async with asyncio.timeout(PATIENCE), aclosing(guard.guarded(items, share, Right.LOGIN)) as guarded:  # type: ignore[type-var]
        assert await anext(guarded) == 1
        ends = {
            "unshare": lambda: world.shares.delete(ALICE, "dev1", "bob"),
            "role": lambda: world.shares.put(ALICE, "dev1", "bob", ShareRole.VIEW),
        }
        await ends[how]()
        with pytest.raises(NotPermitted, match=r"^the share of this session with you ended: ask alice$"):
            await anext(guarded)
    assert closed.is_set()


async def test_another_share_or_a_later_end_changes_nothing(world: World, guard: ShareGuard) -> None:
    await world.session()
    share = (await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE)).share
    async with asyncio.timeout(PATIENCE), aclosing(guard.guarded(_two(), share, Right.READ)) as guarded:  # type: ignore[type-var]
        assert await anext(guarded) == 1
        await world.shares.put(ALICE, "dev1", "root", ShareRole.VIEW)
        await world.shares.put(ALICE, "dev1", "bob", ShareRole.VIEW, world.clock() + timedelta(days=1))
        assert [item async for item in guarded] == [2]


async def test_an_owner_needs_no_share(guard: ShareGuard) -> None:
    assert [item async for item in guard.guarded(_two(), None, Right.READ)] == [1, 2]
