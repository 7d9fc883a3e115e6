"""The cluster of tests of moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fakes.world import World

from tests.services.moves.cluster import Cluster


@pytest.fixture
async def cluster(world: World) -> Cluster:
    made = Cluster(world)
    await made.begin()
    return made
