from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Caller, Credential, Role, Scope, SshKey, User
from netvps.domain.access.ssh_key import PublicKey
from netvps.errors import AlreadyExists, InvalidInput, NotFound, NotPermitted, Unauthenticated, WrongState
from tests.fakes.keys import ed25519
from tests.fakes.world import ALICE, BOB, ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_the_first_admin_is_made_once(world: World) -> None:
    made = await world.access.ensure_admin("carol")
    assert made.role is Role.ADMIN
    assert await world.access.ensure_admin("carol") == made
    assert (await world.access.ensure_admin("alice")).role is Role.ADMIN


async def test_an_api_key_is_its_users(world: World) -> None:
    credential, secret = await world.access.create_api_key(ROOT, "alice")
    assert (credential.subject, credential.expire_time) == ("alice", None)
    assert await world.access.authenticate(secret) == ALICE
    own, own_secret = await world.access.create_api_key(ROOT, "me")
    assert await world.access.authenticate(own_secret) == ROOT
    await world.access.delete_api_key(ROOT, "me", own.kid, "r1")
    assert await world.access.delete_api_key(ROOT, "root", own.kid, "r1") == own
    for wrong in (own_secret, "", "nv_x", secret[:-1], secret[:-64] + "0" * 64, secret.replace("nv_", "nvb_")):
        with pytest.raises(Unauthenticated, match=r"^this API key is unknown, expired or revoked: ask an admin"):
            await world.access.authenticate(wrong)


async def test_tokens_for_other_ends_are_no_api_keys(world: World) -> None:
    token, _ = await world.runners.create_join_token(ROOT)
    _, kid, secret, _ = token.split("_")
    with pytest.raises(Unauthenticated):
        await world.access.authenticate(f"nv_{kid}_{secret}")


async def test_an_api_key_is_shown_once(world: World) -> None:
    await world.access.create_api_key(ROOT, "alice", "r1")
    with pytest.raises(AlreadyExists, match=r"made API key \w+ already, and its secret is shown only once"):
        await world.access.create_api_key(ROOT, "alice", "r1")
    assert len(await world.rows(Credential)) == 1


async def test_an_api_key_is_revoked_under_its_own_user_only(world: World) -> None:
    credential, _ = await world.access.create_api_key(ROOT, "alice")
    for parent, kid in (("bob", credential.kid), ("alice", "0" * 12)):
        with pytest.raises(NotFound, match=f"user {parent} has no API key {kid}"):
            await world.access.delete_api_key(ROOT, parent, kid)


async def test_api_keys_are_listed_with_their_names_ends_and_last_use(world: World) -> None:
    first, secret = await world.access.create_api_key(ROOT, "alice", title="laptop", ttl=timedelta(days=1))
    second, _ = await world.access.create_api_key(ROOT, "alice")
    await world.access.create_api_key(ROOT, "bob")
    assert (await world.access.list_api_keys(ALICE, "me")).items == sorted([first, second], key=lambda key: key.kid)
    assert (first.title, first.expire_time) == ("laptop", world.clock() + timedelta(days=1))
    assert await world.key_uses.last_uses([first.kid]) == {}
    await world.access.authenticate(secret)
    assert await world.key_uses.last_uses([first.kid, second.kid]) == {first.kid: world.clock()}
    world.clock.now += timedelta(days=1)
    with pytest.raises(Unauthenticated):
        await world.access.authenticate(secret)
    with pytest.raises(NotFound):
        await world.access.list_api_keys(ALICE, "bob")


@pytest.mark.parametrize(
    ("user", "scope", "role"),
    [
        (ROOT, Scope.FULL, Role.ADMIN),
        (ROOT, Scope.SESSIONS, Role.USER),
        (ROOT, Scope.READ, Role.VIEWER),
        (ALICE, Scope.SESSIONS, Role.USER),
        (ALICE, Scope.FULL, Role.USER),
    ],
)
async def test_a_scope_limits_the_role(world: World, user: Caller, scope: Scope, role: Role) -> None:
    _, secret = await world.access.create_api_key(ROOT, user.user, scope=scope)
    assert await world.access.authenticate(secret) == Caller(user.user, role, scope)


async def test_a_rotated_key_works_on_for_a_while_and_the_new_one_is_as_it_was(world: World) -> None:
    old, before = await world.access.create_api_key(ROOT, "alice", title="ci", ttl=timedelta(days=90), scope=Scope.READ)
    world.clock.now += timedelta(days=80)
    new, secret = await world.access.rotate_api_key(ALICE, "me", old.kid, overlap=timedelta(hours=1))
    assert (new.title, new.scope, new.expire_time) == ("ci", Scope.READ, world.clock() + timedelta(days=90))
    for each in (before, secret):
        assert (await world.access.authenticate(each)).user == "alice"
    world.clock.now += timedelta(hours=1)
    await world.access.authenticate(secret)
    with pytest.raises(Unauthenticated):
        await world.access.authenticate(before)
    with pytest.raises(WrongState, match=f"API key {old.kid} has expired: make another one"):
        await world.access.rotate_api_key(ALICE, "me", old.kid)


async def test_a_rotation_never_lets_a_key_live_longer(world: World) -> None:
    old, _ = await world.access.create_api_key(ROOT, "alice", ttl=timedelta(hours=1))
    forever, _ = await world.access.create_api_key(ROOT, "alice")
    await world.access.rotate_api_key(ALICE, "me", old.kid, overlap=timedelta(days=30))
    new, _ = await world.access.rotate_api_key(ROOT, "alice", forever.kid, "r1")
    ends = {key.kid: key.expire_time for key in await world.rows(Credential)}
    assert (ends[old.kid], ends[forever.kid]) == (old.expire_time, world.clock() + timedelta(days=1))
    assert new.expire_time is None
    with pytest.raises(AlreadyExists, match="its secret is shown only once"):
        await world.access.rotate_api_key(ROOT, "alice", forever.kid, "r1")


async def test_what_is_wrong_with_a_rotation_is_said(world: World) -> None:
    key, _ = await world.access.create_api_key(ROOT, "alice")
    with pytest.raises(NotPermitted, match="user bob may not rotate API keys of other users"):
        await world.access.rotate_api_key(BOB, "alice", key.kid)
    with pytest.raises(NotFound, match=f"user bob has no API key {key.kid}"):
        await world.access.rotate_api_key(BOB, "me", key.kid)
    for overlap in (timedelta(seconds=-1), timedelta(days=31)):
        with pytest.raises(InvalidInput, match=r"overlap: .* s is not between 0 and 30 days"):
            await world.access.rotate_api_key(ALICE, "me", key.kid, overlap=overlap)


async def test_people_revoke_their_own_api_keys(world: World) -> None:
    credential, secret = await world.access.create_api_key(ROOT, "alice")
    await world.access.delete_api_key(ALICE, "me", credential.kid)
    with pytest.raises(Unauthenticated):
        await world.access.authenticate(secret)


async def test_a_local_account_is_a_user_or_learns_how_to_become_one(world: World) -> None:
    assert await world.access.caller_of("root") == ROOT
    with pytest.raises(Unauthenticated, match=r"^eve is no user here: ask an admin to add you"):
        await world.access.caller_of("eve")


async def test_people_see_themselves_and_admins_all(world: World) -> None:
    assert (await world.access.get_user(ALICE, "me")).name == "alice"
    assert (await world.access.get_user(ROOT, "bob")).name == "bob"
    for name in ("bob", "eve"):
        with pytest.raises(NotFound, match=f"^no user {name}: see netvps user ls$"):
            await world.access.get_user(ALICE, name)
    assert [user.name for user in (await world.access.list_users(ROOT)).items] == ["alice", "bob", "root"]


async def test_api_keys_of_others_are_revoked_by_admins(world: World) -> None:
    with pytest.raises(NotPermitted, match=r"user alice may not revoke API keys of other users: it needs role admin"):
        await world.access.delete_api_key(ALICE, "bob", "x")


async def test_a_new_user_needs_a_name_that_is_free(world: World) -> None:
    assert (await world.access.create_user(ROOT, "carol", Role.USER)).role is Role.USER
    with pytest.raises(AlreadyExists, match=r"^user carol exists already: choose another name$"):
        await world.access.create_user(ROOT, "carol", Role.USER)


async def test_a_role_is_changed_once_and_an_admin_is_left(world: World) -> None:
    for _ in range(2):  # the second time is the first's retry
        assert (await world.access.update_user(ROOT, "alice", Role.ADMIN, request_id="r1")).role is Role.ADMIN
    assert (await world.access.update_user(ROOT, "me", Role.VIEWER)).role is Role.VIEWER
    with pytest.raises(WrongState, match="alice is the only admin: make another one first"):
        await world.access.update_user(ALICE, "alice", Role.USER)
    with pytest.raises(NotFound, match="no user eve"):
        await world.access.update_user(ALICE, "eve", Role.USER)


async def test_a_user_goes_with_all_their_keys(world: World) -> None:
    _, secret = await world.access.create_api_key(ROOT, "alice")
    await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(1)))
    assert (await world.access.delete_user(ROOT, "alice", "r1")).name == "alice"
    assert (await world.access.delete_user(ROOT, "alice", "r1")).name == "alice"
    assert await world.rows(SshKey) == []
    assert await world.rows(Credential) == []
    with pytest.raises(Unauthenticated):
        await world.access.authenticate(secret)
    with pytest.raises(NotFound):
        await world.session("dev1", ALICE)


async def test_a_user_with_sessions_stays(world: World) -> None:
    for name in ("dev1", "dev2"):
        await world.session(name, BOB)
    with pytest.raises(WrongState, match=r"^user bob owns 2 sessions: remove them first, with netvps rm dev1\.bob …$"):
        await world.access.delete_user(ROOT, "bob")
    assert await world.row(User, "bob") is not None


async def test_users_cannot_remove_themselves_or_the_last_admin(world: World) -> None:
    with pytest.raises(WrongState, match="you cannot remove yourself"):
        await world.access.delete_user(ROOT, "me")
    with pytest.raises(WrongState, match="root is the only admin: make another one first"):
        await world.access.delete_user(Caller("alice", Role.ADMIN), "root")
    with pytest.raises(NotFound):
        await world.access.delete_user(ROOT, "eve")
