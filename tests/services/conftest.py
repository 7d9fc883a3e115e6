"""The world of the services' tests, on the store in memory and on the real one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.store import open_store
from netvps.tasks import Tasks
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from netvps.services.ports import Store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(
    request: pytest.FixtureRequest, clock: FakeClock, migrated: Path, tmp_path: Path
) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    shutil.copyfile(migrated, tmp_path / "store.db")
    async with open_store(f"sqlite:///{tmp_path}/store.db", clock) as opened:
        yield opened


@pytest.fixture
def memory(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
async def world(store: Store, clock: FakeClock) -> AsyncIterator[World]:
    """All services, with people in, and the feed running."""
    made = World(store, clock)
    await made.populate()
    async with Tasks() as tasks:
        tasks.start(made.feed.run(), name="feed")
        yield made
