"""A server of pages per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.web.world import Person, World, a_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as made:
        yield made


@pytest.fixture
async def ann(world: World) -> AsyncIterator[Person]:
    """Logged in."""
    async with world.person() as person:
        await person.log_in()
        yield person
