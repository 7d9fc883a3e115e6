from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from netvps.errors import Unavailable
from netvps.programs.wiring import upkeep
from netvps.tasks import Tasks
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from netvps.adapters.store.store import SqlStore


class Store:
    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.third = asyncio.Event()

    async def compact(self, revisions: int, size: int) -> int:
        self.asked.append((revisions, size))
        if len(self.asked) == 1:
            raise Unavailable("the database is busy: try again")
        if len(self.asked) == 3:
            self.third.set()
        return 1

    async def grown(self, _size: int) -> None:
        """At once."""


async def test_it_goes_on_after_a_failure_and_when_the_log_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_COMPACT_PAUSE", 0.0)
    store: Any = Store()
    async with Tasks() as tasks:
        tasks.start(upkeep.compact(cast("SqlStore", store)), name="compaction")
        async with asyncio.timeout(PATIENCE):
            await store.third.wait()
    assert set(store.asked) == {(100_000, 256 << 20)}
