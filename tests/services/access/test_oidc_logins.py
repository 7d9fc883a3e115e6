"""Logins with accounts of an issuer, which a fake stands for; tests/adapters/oidc has a real one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from netvps.domain.access.accounts import Credential, Role, SshKey, User
from netvps.domain.access.oidc import DeviceCode, ExternalAccount, LoginRules, LoginState
from netvps.domain.access.ssh_key import PublicKey
from netvps.errors import AlreadyExists, Exhausted, NotPermitted, Unauthenticated
from netvps.services.access import oidc_logins
from netvps.services.access.oidc_logins import OidcLogins
from tests.fakes.keys import ed25519
from tests.fakes.vault import FakeVault
from tests.fakes.world import ROOT

if TYPE_CHECKING:
    from netvps.domain.access.oidc import Claims
    from tests.fakes.world import World

RULES = LoginRules("https://login.example", "netvps", "netvps", domains=("*",))
SOURCE = "192.0.2.1"


class Issuer:
    """Answers with what tests set."""

    rules = RULES

    def __init__(self) -> None:
        self.answer: Claims | LoginState = {"sub": "8f3a", "preferred_username": "ann"}
        self.asked: list[str] = []
        self.hold: asyncio.Event | None = None

    async def start(self) -> DeviceCode:
        return DeviceCode("dc-1", "WDJB", "https://login.example/device", "", 600, 5)

    async def ask(self, device_code: str) -> Claims | LoginState:
        self.asked.append(device_code)
        if self.hold is not None:
            await self.hold.wait()
        return self.answer


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def logins(world: World, issuer: Issuer) -> OidcLogins:
    clock = world.clock
    return OidcLogins(world.store, clock, world.new_uid, FakeVault(), issuer, monotonic=clock.monotonic)


def key(number: int = 1) -> PublicKey:
    return PublicKey.parse(f"{ed25519(number)} ann@laptop")


async def finish(logins: OidcLogins, used: PublicKey | None = None) -> Any:
    started = await logins.start(SOURCE)
    return await logins.finish(logins.admit(started.token, SOURCE), used or key())


async def test_the_first_login_makes_an_account_and_later_ones_are_the_same_user(
    world: World, logins: OidcLogins, issuer: Issuer
) -> None:
    user, credential, secret = await finish(logins)
    assert (user.name, user.role) == ("ann", Role.USER)
    assert (await world.access.authenticate(secret)).user == "ann"
    assert credential.expire_time == world.clock() + oidc_logins.KEY_LIFE
    issuer.answer = {"sub": "8f3a", "preferred_username": "ann-married"}
    before = await world.revision()
    again, _, _ = await finish(logins)  # the same account at the issuer, whatever it is called
    assert again == user
    assert {change.actor for change in await world.store.changes(before, 99)} == {"ann"}
    await finish(logins, key(2))  # from another machine
    assert {each.fingerprint for each in await world.rows(SshKey, owner="ann")} == {
        *(key(1).fingerprint, key(2).fingerprint)
    }
    assert len(await world.rows(Credential, subject="ann")) == 3
    world.clock.advance(days=8)
    with pytest.raises(Unauthenticated):
        await world.access.authenticate(secret)
    await finish(logins)
    assert len(await world.rows(Credential, subject="ann")) == 1  # those that expired are deleted


async def test_an_account_that_gets_the_name_of_another_one_is_another_person(
    world: World, logins: OidcLogins, issuer: Issuer
) -> None:
    await finish(logins)
    before = await world.revision()
    issuer.answer = {"sub": "9999", "preferred_username": "ann"}
    with pytest.raises(AlreadyExists, match="user ann exists already and belongs to another account"):
        await finish(logins, key(2))
    issuer.answer = {"sub": "9999", "preferred_username": "alice"}  # who registered otherwise
    with pytest.raises(AlreadyExists, match="user alice exists already"):
        await finish(logins, key(2))
    issuer.answer = {"sub": "9999", "preferred_username": "eve"}
    with pytest.raises(AlreadyExists, match=r"key SHA256:.* is registered already: use another key"):
        await finish(logins)
    assert await world.revision() == before


async def test_who_was_removed_comes_back_as_another_user(world: World, logins: OidcLogins) -> None:
    await finish(logins)
    await world.access.delete_user(ROOT, "ann")
    assert await world.rows(ExternalAccount) == []
    user, _, _ = await finish(logins)
    assert await world.row(User, "ann") == user


async def test_two_first_logins_at_the_same_time_make_one_user(world: World, logins: OidcLogins) -> None:
    results = await asyncio.gather(finish(logins, key(1)), finish(logins, key(2)))
    assert [user.name for user, _, _ in results] == ["ann", "ann"]
    assert len(await world.rows(ExternalAccount)) == 1


async def test_nothing_is_asked_for_a_token_that_is_not_of_a_login(
    world: World, logins: OidcLogins, issuer: Issuer
) -> None:
    started = await logins.start(SOURCE)
    for token in ("", "dc-1", "x" * 9000, FakeVault().seal("[]", "another")):
        with pytest.raises(Unauthenticated, match="this login is unknown or has expired: log in again"):
            logins.admit(token, SOURCE)
    world.clock.advance(minutes=10)
    with pytest.raises(Unauthenticated, match="has expired"):
        logins.admit(started.token, SOURCE)
    assert issuer.asked == []


async def test_a_login_that_is_not_confirmed_changes_nothing(world: World, logins: OidcLogins, issuer: Issuer) -> None:
    before = await world.revision()
    for state in (LoginState.PENDING, LoginState.SLOW_DOWN):
        issuer.answer = state
        assert await finish(logins) is state
    assert await world.revision() == before


async def test_tries_are_limited(logins: OidcLogins) -> None:
    started = await logins.start(SOURCE)
    for _ in range(9):
        await logins.start(SOURCE)
    with pytest.raises(Exhausted, match=r"too many logins were tried: try again in \d+ s"):
        await logins.start(SOURCE)
    await logins.start("192.0.2.2")
    for _ in range(120):
        logins.admit(started.token, SOURCE)
    with pytest.raises(Exhausted, match="too many logins"):
        logins.admit(started.token, SOURCE)


async def test_a_slow_issuer_holds_up_a_few_logins_only(logins: OidcLogins, issuer: Issuer) -> None:
    issuer.hold = asyncio.Event()
    waiting = [asyncio.create_task(logins.finish("dc-1", key())) for _ in range(oidc_logins.QUESTIONS)]
    while len(issuer.asked) < len(waiting):
        await asyncio.sleep(0)
    with pytest.raises(Exhausted, match="32 logins wait for an answer of the issuer: try again"):
        await logins.finish("dc-1", key())
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    issuer.hold = None
    await logins.finish("dc-1", key())


async def test_without_an_issuer_the_remedy_is_an_api_key(world: World) -> None:
    logins = OidcLogins(world.store, world.clock, world.new_uid, FakeVault())
    with pytest.raises(NotPermitted, match="log in with an API key, with netvps login HOST"):
        await logins.start(SOURCE)
    with pytest.raises(NotPermitted, match="has no OIDC issuer"):
        logins.admit("x", SOURCE)
