"""What ends by itself is removed when that comes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Role, User
from netvps.errors import Unavailable
from netvps.services import ends
from netvps.services.feed import Topic
from netvps.tasks import Tasks
from tests.fakes.world import ROOT
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.fakes.world import World

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_the_next_end_decides_and_an_hour_at_most() -> None:
    at = [NOW - timedelta(1), NOW + timedelta(minutes=2), NOW + timedelta(minutes=1)]
    assert ends.seconds_until_next(at, NOW) == 60
    assert ends.seconds_until_next([NOW + timedelta(days=9)], NOW) == ends.seconds_until_next([], NOW) == 3600


async def test_it_is_done_again_after_a_change_its_time_and_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "_RETRY", 0)
    called: asyncio.Queue[int] = asyncio.Queue()
    waits = iter([3600.0, 0.0, None, 3600.0])

    async def expire() -> float:
        called.put_nowait(0)
        seconds = next(waits)
        if seconds is None:
            raise Unavailable("the database is away")
        return seconds

    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(ends.run_ends(world.feed, Topic(User.kind), expire), name="ends")
        await called.get()
        await world.access.create_user(ROOT, "eve", Role.USER)
        for _ in range(3):
            await called.get()
