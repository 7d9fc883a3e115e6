from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.errors import NotFound
from netvps.services.sessions.scope import owner_filter, user_in_sight
from tests.fakes.world import ALICE, ROOT

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from tests.fakes.world import World


@pytest.mark.parametrize(
    ("caller", "parent", "where"),
    [
        (ALICE, "", {"owner": "alice"}),
        (ALICE, "me", {"owner": "alice"}),
        (ALICE, "alice", {"owner": "alice"}),
        (ALICE, "-", {"owner": "alice"}),
        (ROOT, "", {"owner": "root"}),
        (ROOT, "bob", {"owner": "bob"}),
        (ROOT, "-", {}),
    ],
)
async def test_a_parent_says_whose_things_are_meant(
    world: World, caller: Caller, parent: str, where: dict[str, str]
) -> None:
    async with world.store.read() as reader:
        assert await owner_filter(reader, caller, parent) == where


@pytest.mark.parametrize(("caller", "name"), [(ALICE, "bob"), (ALICE, "eve"), (ROOT, "eve")])
async def test_a_user_out_of_sight_is_not_found(world: World, caller: Caller, name: str) -> None:
    async with world.store.read() as reader:
        with pytest.raises(NotFound, match=f"^no user {name}: see netvps user ls$"):
            await user_in_sight(reader, caller, name)


async def test_a_name_of_escapes_is_shown_harmless(world: World) -> None:
    async with world.store.read() as reader:
        with pytest.raises(NotFound, match=r"no user \\x1b\[31m"):
            await user_in_sight(reader, ROOT, "\x1b[31m")
