"""Who gets an account, and who does not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Credential, Role, SshKey, User
from netvps.domain.access.invitations import Invitation, InvitationState, NewAccount
from netvps.domain.access.rate_limit import Rate
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.server import Registration
from netvps.errors import AlreadyExists, Exhausted, NetvpsError, NotPermitted, Unauthenticated, WrongState
from netvps.services.access import registration
from tests.fakes.keys import ed25519
from tests.fakes.world import ROOT

if TYPE_CHECKING:
    from netvps.services.access.registration import Registrations
    from tests.fakes.world import World

REFUSED = "^this invitation is unknown, used, expired or revoked: ask who invited you for another one$"


def account(name: str = "ann", request_id: str = "") -> NewAccount:
    return NewAccount(name, PublicKey.parse(ed25519(int.from_bytes(name.encode()))), request_id)


async def join(
    world: World,
    token: str,
    asked: NewAccount | None = None,
    *,
    source: str = "192.0.2.1",
    at: Registrations | None = None,
) -> tuple[User, str]:
    to = at or world.registrations
    return await to.register(await to.admit(token, source), asked or account())


async def invited(world: World, role: Role = Role.USER) -> tuple[str, str]:
    made, token = await world.invitations.create(ROOT, role=role)
    return made.kid, token


@pytest.mark.parametrize("role", list(Role))
async def test_an_invitation_makes_an_account_with_its_role_a_key_and_an_api_key(world: World, role: Role) -> None:
    kid, token = await invited(world, role)
    user, secret = await join(world, token)
    assert (user.name, user.role) == ("ann", role)
    caller = await world.access.authenticate(secret)
    assert (caller.user, caller.role) == ("ann", role)
    assert [key.fingerprint for key in await world.rows(SshKey, owner="ann")] == [account().key.fingerprint]
    (listed,) = (await world.invitations.list(ROOT)).items
    assert (listed.kid, listed.state, listed.redeemed_by) == (kid, InvitationState.REDEEMED, "ann")
    with pytest.raises(WrongState, match="user ann registered with invitation"):
        await world.invitations.revoke(ROOT, kid)


async def test_each_abuse_is_refused_with_the_same_words(world: World) -> None:
    await world.access.create_user(ROOT, "eve", Role.ADMIN)
    eve = await world.access.caller_of("eve")
    used, revoked, old = [await invited(world) for _ in range(3)]
    _, of_eve = await world.invitations.create(eve, role=Role.ADMIN)
    await join(world, used[1], account("bea"))
    await world.invitations.revoke(ROOT, revoked[0])
    await world.access.update_user(ROOT, "eve", Role.OPERATOR)  # who may not give that role any more
    join_token, _ = await world.runners.create_join_token(ROOT)
    _, api_key = await world.access.create_api_key(ROOT, "alice")
    before = await world.revision()
    world.clock.advance(hours=73)
    _, good = await invited(world)
    before = await world.revision()
    prefix, kid, secret, pin = good.split("_")
    tokens = {
        "used": used[1],
        "revoked": revoked[1],
        "expired": old[1],
        "its issuer lost the role": of_eve,
        "unknown": f"nvi_{'0' * 12}_{secret}_{pin}",
        "forged": f"nvi_{kid}_{'0' * 64}_{pin}",
        "secret of another": f"nvi_{kid}_{used[1].split('_')[2]}_{pin}",
        "for another server": f"nvi_{kid}_{secret}_{'0' * 64}",
        "too long": good + "0" * 1_000_000,
        "cut": good[:-1],
        "without the server": f"{prefix}_{kid}_{secret}",
        "none": "",
        "a runner's": join_token,
        "a runner's, renamed": join_token.replace("nvj_", "nvi_"),
        "an API key": api_key,
    }
    for number, (what, token) in enumerate(tokens.items()):
        with pytest.raises(Unauthenticated, match=REFUSED) as refused:
            await join(world, token, source=f"192.0.2.{number}")
        assert refused.value.reason == "BAD_INVITATION", what
    assert await world.revision() == before
    assert await world.row(User, "ann") is None
    await join(world, good)


async def test_of_two_redeemers_one_wins(world: World) -> None:
    _, token = await invited(world)
    tries = [join(world, token, account(name), source=name) for name in ("ann", "bea", "cid", "dan")]
    results = await asyncio.gather(*tries, return_exceptions=True)
    won = [one[0].name for one in results if not isinstance(one, BaseException)]
    assert len(won) == 1
    assert sum(isinstance(one, Unauthenticated) for one in results) == 3
    assert {user.name for user in await world.rows(User)} == {"alice", "bob", "root", won[0]}
    assert len(await world.rows(SshKey)) == 1


@pytest.mark.parametrize("name", ["alice", "root"])
async def test_a_name_or_key_in_use_leaves_the_invitation_open(world: World, name: str) -> None:
    _, token = await invited(world)
    with pytest.raises(AlreadyExists, match=f"user {name} exists already"):
        await join(world, token, account(name))
    await world.ssh_keys.create(ROOT, account("ann").key, parent="alice")
    with pytest.raises(AlreadyExists, match="registered already: use another key"):
        await join(world, token)
    await join(world, token, account("bea"))


async def test_a_stranger_learns_nothing_of_names_before_the_token_is_checked(world: World) -> None:
    for name in ("alice", "ann"):
        with pytest.raises(Unauthenticated, match=REFUSED):
            await join(world, "nvi_wrong", account(name))


async def test_a_lost_answer_is_asked_for_again_by_the_same_client_only(world: World) -> None:
    kid, token = await invited(world)
    _, lost = await join(world, token, account(request_id="r1"))
    user, secret = await join(world, token, account(request_id="r1"))
    assert user.name == "ann"
    with pytest.raises(Unauthenticated):
        await world.access.authenticate(lost)
    assert (await world.access.authenticate(secret)).user == "ann"
    assert len(await world.rows(Credential, purpose="api", subject="ann")) == 1
    for other in (account(), account(request_id="r2"), account("bea", "r1")):
        with pytest.raises(Unauthenticated, match=REFUSED):
            await join(world, token, other)
    with pytest.raises(Unauthenticated, match=REFUSED):
        await join(world, f"nvi_{kid}_{'0' * 64}_{world.ca.fingerprint}", account(request_id="r1"))
    await world.access.delete_api_key(ROOT, "ann", secret.split("_")[1])
    with pytest.raises(Unauthenticated, match=REFUSED):
        await join(world, token, account(request_id="r1"))


async def test_a_closed_server_lets_no_one_in(world: World) -> None:
    _, token = await invited(world)
    for given in (token, ""):
        with pytest.raises(NotPermitted, match="closed to registration") as refused:
            await join(world, given, at=world.registering(Registration.CLOSED))
        assert refused.value.reason == "REGISTRATION_CLOSED"


async def test_an_open_server_lets_in_users_and_checks_tokens(world: World) -> None:
    at = world.registering(Registration.OPEN)
    user, secret = await join(world, "", at=at)
    assert user.role is Role.USER
    assert (await world.access.authenticate(secret)).user == "ann"
    _, token = await invited(world, Role.OPERATOR)
    assert (await join(world, token, account("bea"), at=at))[0].role is Role.OPERATOR
    with pytest.raises(Unauthenticated, match=REFUSED):
        await join(world, token, account("cid"), at=at)


async def test_without_a_token_nothing_is_asked_for_again(world: World) -> None:
    at = world.registering(Registration.OPEN)
    await join(world, "", account(request_id="r1"), at=at)
    with pytest.raises(AlreadyExists, match="shown only once"):
        await join(world, "", account(request_id="r1"), at=at)


async def outcomes(world: World, at: Registrations, sources: list[str], token: str = "") -> list[str]:
    found = []
    for number, source in enumerate(sources):
        try:
            await join(world, token, account(f"u{await world.revision()}-{number}"), source=source, at=at)
            found.append("OK")
        except NetvpsError as error:
            found.append(error.reason)
    return found


async def test_tries_of_an_address_are_limited(world: World) -> None:
    tries = await outcomes(world, world.registrations, ["192.0.2.1"] * 12, "nvi_wrong")
    assert tries == ["BAD_INVITATION"] * 10 + ["TOO_MANY_REGISTRATIONS"] * 2
    _, token = await invited(world)
    with pytest.raises(Exhausted, match=r"try again in 6 s"):
        await join(world, token)
    await join(world, token, source="192.0.2.2")


async def test_accounts_without_an_invitation_are_limited_by_address_and_in_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "ACCOUNTS_IN_ALL", Rate(7, 86_400.0))
    at = world.registering(Registration.OPEN)
    assert await outcomes(world, at, ["192.0.2.1"] * 6) == ["OK"] * 5 + ["TOO_MANY_REGISTRATIONS"]
    assert await outcomes(world, at, [f"192.0.2.{n}" for n in (2, 3, 4)]) == ["OK"] * 2 + ["TOO_MANY_REGISTRATIONS"]
    _, token = await invited(world)
    await join(world, token, source="192.0.2.9", at=at)
    world.clock.advance(hours=4)
    assert await outcomes(world, at, ["192.0.2.1"] * 2) == ["OK", "TOO_MANY_REGISTRATIONS"]


async def test_a_store_that_fails_leaves_the_invitation_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = await invited(world)
    with monkeypatch.context() as patch:
        patch.setattr(registration, "mint", lambda *_args, **_more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await join(world, token)
    assert await world.row(User, "ann") is None
    assert [one.redeemed_by for one in await world.rows(Invitation)] == [""]
    await join(world, token)
