"""Databases to test on: each test of the store runs on SQLite and on a PostgreSQL cluster of its own."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.store import SqlStore, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.postgres import Cluster

NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """One second later at each look."""
    times = iter(range(1_000_000))
    return lambda: NOW + timedelta(seconds=next(times))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/store.db"
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.create_database()


@pytest.fixture
async def store(url: str, clock: Callable[[], datetime], migrated: Path) -> AsyncIterator[SqlStore]:
    if url.startswith("sqlite:"):
        database = Path(url.removeprefix("sqlite:///"))
        database.parent.mkdir(mode=0o700)
        shutil.copyfile(migrated, database)
    async with open_store(url, clock) as opened:
        yield opened
