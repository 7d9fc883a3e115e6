from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.spec import SessionSpec
from netvps.domain.session.wordlist import ADJECTIVES, NOUNS
from netvps.errors import AlreadyExists
from tests.fakes.world import ALICE, BOB, ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_without_a_name_a_pleasant_one_is_picked(world: World) -> None:
    names = {(await world.session("")).name for _ in range(30)}
    assert len(names) == 30
    for name in names:
        adjective, noun = name.split("-")[:2]
        assert adjective in ADJECTIVES
        assert noun in NOUNS


async def test_a_name_gets_a_number_when_all_pleasant_ones_are_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.services.sessions.free_names.pleasant_name", lambda _: "calm-otter")
    assert [(await world.session("")).name for _ in range(3)] == ["calm-otter", "calm-otter-2", "calm-otter-3"]


async def test_a_name_is_taken_once_per_owner(world: World) -> None:
    await world.session("dev1", ALICE)
    with pytest.raises(AlreadyExists, match=r"^session dev1 exists already: choose another name, or netvps ssh dev1$"):
        await world.session("dev1", ALICE)
    with pytest.raises(AlreadyExists, match=r"^session dev1\.alice exists already: .*ssh dev1\.alice$"):
        await world.sessions.create(ROOT, session_id="dev1", owner="alice", spec=SessionSpec())
    assert (await world.session("dev1", BOB)).owner == "bob"


async def test_the_name_of_a_session_being_deleted_says_so(world: World) -> None:
    await world.runner()
    await world.session()
    await world.sessions.delete(ALICE, "dev1")
    with pytest.raises(AlreadyExists, match="is being deleted: choose another name, or wait"):
        await world.session()
