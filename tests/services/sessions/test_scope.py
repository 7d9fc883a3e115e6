from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.access.sharing import Right, ShareRole
from netvps.domain.names import SessionName
from netvps.domain.session.spec import SessionSpec
from netvps.errors import NotFound, NotPermitted
from netvps.services.sessions.scope import owner_filter, permitted_session, user_in_sight
from tests.fakes.world import ALICE, ROOT

if TYPE_CHECKING:
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


VIEWER, OPERATOR = Caller("alice", Role.VIEWER), Caller("op", Role.OPERATOR)


async def _permitted(world: World, caller: Caller) -> set[Right]:
    """What the caller may do with Alice's dev1."""
    rights = set()
    async with world.store.read() as reader:
        for right in Right:
            with suppress(NotPermitted):
                await permitted_session(reader, caller, SessionName("alice", "dev1"), right, world.clock())
                rights.add(right)
    return rights


@pytest.mark.parametrize(
    ("caller", "rights"),
    [
        (VIEWER, {Right.READ, Right.WATCH, Right.INSPECT}),
        (ALICE, set(Right)),
        (OPERATOR, {Right.READ, Right.INSPECT, Right.MOVE}),
        (ROOT, set(Right)),
    ],
)
async def test_a_role_gives_rights(world: World, caller: Caller, rights: set[Right]) -> None:
    await world.session("dev1", ALICE)
    assert await _permitted(world, caller) == rights


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (Role.VIEWER, {Right.READ, Right.WATCH}),
        (Role.USER, {Right.READ, Right.WATCH, Right.LOGIN}),
        (Role.OPERATOR, {Right.READ, Right.WATCH, Right.LOGIN, Right.INSPECT, Right.MOVE}),
    ],
)
async def test_a_share_gives_no_more_than_the_role_allows(world: World, role: Role, rights: set[Right]) -> None:
    await world.session("dev1", ALICE)
    await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE)
    assert await _permitted(world, Caller("bob", role)) == rights


async def test_an_operator_sees_all_sessions_without_their_environment(world: World) -> None:
    await world.session("dev1", ALICE, SessionSpec(env={"TOKEN": "secret"}))
    assert [str(one.full_name) for one in (await world.sessions.list(OPERATOR, parent="-")).items] == ["dev1.alice"]
    for caller in (OPERATOR, VIEWER):
        assert (await world.sessions.get(caller, "dev1.alice")).spec.env == {}
    assert (await world.sessions.get(ALICE, "dev1")).spec.env == {"TOKEN": "secret"}
    async with world.store.read() as reader:
        with pytest.raises(NotFound):
            await permitted_session(reader, OPERATOR, SessionName("alice", "dev2"), Right.MANAGE, world.clock())
        with pytest.raises(NotFound):  # keys of people are not theirs to see
            await user_in_sight(reader, OPERATOR, "alice")
