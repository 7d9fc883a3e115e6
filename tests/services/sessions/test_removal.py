from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Credential
from netvps.domain.runner.runner import Lease, Runner
from netvps.domain.session.session import Session
from netvps.errors import NotFound, WrongState
from netvps.services.access.tokens import BOOT
from netvps.services.sessions.assignments import follow
from tests.fakes.world import HELLO, ROOT
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_a_removed_runner_leaves_no_lease_and_may_not_come_back(world: World) -> None:
    runner = await world.runner()
    for _ in range(2):  # the second time is the first's retry
        await world.runners.remove(ROOT, "lab1", request_id="once")
    assert (await world.rows(Runner), await world.rows(Lease)) == ([], [])
    with pytest.raises(NotFound, match="no runner lab1: see netvps runner ls"):
        await world.runners.remove(ROOT, "lab1")
    with pytest.raises(NotFound, match="this runner was removed: join again"):
        await world.runners.online(runner.uid, HELLO)


async def test_a_runner_with_sessions_goes_by_force_alone_and_takes_them_along(world: World) -> None:
    runner = await world.runner("lab1")
    mine = await world.session("dev1")
    other = await world.session("dev2")
    await world.runners.boot_token(runner.uid, mine.uid, mine.epoch)
    with pytest.raises(WrongState, match=r"runner lab1 has 2 sessions: move them first, with netvps runner drain lab1"):
        await world.runners.remove(ROOT, "lab1")
    assert {session.uid for session in await world.rows(Session)} == {mine.uid, other.uid}
    await world.runners.remove(ROOT, "lab1", force=True)
    assert await world.rows(Session) == []
    assert await world.rows(Credential, purpose=BOOT) == []
    assert (await world.session("dev1")).message == "no runner is online; see netvps runner ls"


async def test_a_runner_that_is_connected_hears_of_its_removal_at_once(world: World) -> None:
    runner = await world.runner("lab1")
    async with aclosing(follow(world.store, world.feed, runner.uid)) as items:
        await anext(items)
        await world.runners.remove(ROOT, "lab1")
        with pytest.raises(NotFound, match="this runner was removed"):
            async with asyncio.timeout(PATIENCE):
                await anext(items)
    with pytest.raises(NotFound, match="this runner was removed"):
        await anext(follow(world.store, world.feed, runner.uid))
