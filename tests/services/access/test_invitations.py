from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.access.invitations import KEPT, Invitation, InvitationState
from netvps.domain.server import Registration
from netvps.errors import AlreadyExists, Exhausted, NotFound, NotPermitted, WrongState
from netvps.services.access import invitations
from netvps.services.access.invitations import Invitations
from netvps.services.access.tokens import INVITE, Token
from tests.fakes.world import ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World

EVE = Caller("eve", Role.OPERATOR)


async def test_an_invitation_is_shown_once_and_stored_as_a_hash(world: World) -> None:
    made, text = await world.invitations.create(ROOT, role=Role.OPERATOR, note="Ann", request_id="r1")
    token = Token.parse(text, INVITE)
    assert token is not None
    assert (token.kid, token.fingerprint) == (made.kid, world.ca.fingerprint)
    stored = await world.require(Invitation, made.kid)
    assert token.secret not in repr(stored)
    assert stored.holds(token.secret)
    assert (made.role, made.note, made.state) == (Role.OPERATOR, "Ann", InvitationState.OPEN)
    assert made.expire_time == world.clock.now + timedelta(hours=72)
    with pytest.raises(AlreadyExists, match="shown only once"):
        await world.invitations.create(ROOT, role=Role.OPERATOR, note="Ann", request_id="r1")


async def test_operators_see_and_revoke_their_own(world: World) -> None:
    await world.access.create_user(ROOT, "eve", Role.OPERATOR)
    of_root, _ = await world.invitations.create(ROOT)
    own, _ = await world.invitations.create(EVE)
    assert (await world.invitations.list(EVE)).items == [own]
    assert {one.kid for one in (await world.invitations.list(ROOT)).items} == {own.kid, of_root.kid}
    with pytest.raises(NotFound, match=f"no invitation {of_root.kid}"):
        await world.invitations.revoke(EVE, of_root.kid)
    revoked = await world.invitations.revoke(ROOT, own.kid, "r1")
    assert revoked.state is InvitationState.REVOKED
    assert await world.invitations.revoke(ROOT, own.kid, "r1") == revoked
    assert await world.invitations.revoke(ROOT, own.kid) == revoked
    assert (await world.invitations.list(EVE)).items == [revoked]


async def test_no_one_invites_beyond_their_role(world: World) -> None:
    with pytest.raises(NotPermitted, match="role operator may not invite people with role admin"):
        await world.invitations.create(EVE, role=Role.ADMIN)
    with pytest.raises(NotPermitted):
        await world.invitations.create(Caller("alice", Role.USER), role=Role.VIEWER)


async def test_a_closed_server_has_none(world: World) -> None:
    closed = Invitations(world.store, world.clock, world.ca, Registration.CLOSED)
    with pytest.raises(WrongState, match="closed to registration"):
        await closed.create(ROOT)


async def test_open_ones_have_a_limit_and_old_ones_are_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "MAX_OPEN", 2)
    first, _ = await world.invitations.create(ROOT)
    await world.invitations.create(ROOT)
    with pytest.raises(Exhausted, match="netvps invite rm KID"):
        await world.invitations.create(ROOT)
    await world.invitations.revoke(ROOT, first.kid)
    await world.invitations.create(ROOT, ttl=timedelta(days=30))
    world.clock.advance(seconds=KEPT.total_seconds(), hours=72)
    await world.invitations.create(ROOT)
    assert len((await world.invitations.list(ROOT)).items) == 2


async def test_those_of_a_removed_user_go_with_them(world: World) -> None:
    await world.access.create_user(ROOT, "eve", Role.OPERATOR)
    await world.invitations.create(EVE)
    await world.access.delete_user(ROOT, "eve")
    assert await world.rows(Invitation) == []
