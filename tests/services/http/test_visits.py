"""Who may open a host, and how a browser is logged in there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Scope, User
from netvps.domain.access.sharing import ShareRole
from netvps.domain.http.site import Site
from netvps.errors import NotFound, NotPermitted, Unauthenticated
from netvps.services.http.visits import LOGIN_TIME, Visits
from tests.fakes.vault import FakeVault
from tests.fakes.world import ALICE, ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World

HOST = "8080--dev1--alice.localhost"


@pytest.fixture
async def visits(world: World) -> Visits:
    """Alice's dev1, which Bob may use."""
    await world.session("dev1", ALICE)
    return Visits(world.store, world.clock, world.access, FakeVault(), Site.parse("http://localhost:7481", "root"))


async def key_of(world: World, user: str) -> str:
    return (await world.access.create_api_key(ROOT, user))[1]


async def entered(visits: Visits, key: str, host: str = HOST) -> str:
    """The cookie of a host, by way of the host of logins."""
    return await visits.enter(host, await visits.code(await visits.log_in(key), host))


async def test_owner_admin_and_who_may_log_in_get_in(world: World, visits: Visits) -> None:
    for user in ("alice", "root"):
        admitted = await visits.visit(HOST, "", await key_of(world, user))
        assert (str(admitted.session.full_name), admitted.port, admitted.user) == ("dev1.alice", 8080, user)
    bob = await key_of(world, "bob")
    with pytest.raises(NotFound) as foreign:
        await visits.visit(HOST, "", bob)
    with pytest.raises(NotFound) as none:
        await visits.visit("8080--dev9--alice.localhost", "", bob)
    assert foreign.value.message.replace("dev1", "dev9") == none.value.message
    await world.shares.put(ALICE, "dev1", "bob", ShareRole.VIEW)
    with pytest.raises(NotPermitted, match="not to log in: ask alice"):
        await visits.visit(HOST, "", bob)
    await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE)
    assert (await visits.visit(HOST, "", bob)).user == "bob"
    await world.shares.delete(ALICE, "dev1", "bob")
    with pytest.raises(NotFound):
        await visits.visit(HOST, "", bob)


async def test_whoever_is_unknown_is_asked_to_log_in_before_anything_is_looked_up(visits: Visits) -> None:
    for host in (HOST, "8080--dev9--alice.localhost", "80--none--noone.localhost", "evil.example"):
        for cookie, key in (("", ""), ("x", ""), ("", "nv_x")):
            with pytest.raises(Unauthenticated):
                await visits.visit(host, cookie, key)


async def test_a_cookie_is_good_for_its_host_alone_and_a_day(world: World, visits: Visits) -> None:
    cookie = await entered(visits, await key_of(world, "alice"))
    assert (await visits.visit(HOST, cookie, "")).user == "alice"
    for host in ("3000--dev1--alice.localhost", "login.localhost"):
        with pytest.raises(Unauthenticated):
            await visits.visit(host, cookie, "")
    with pytest.raises(Unauthenticated):
        await visits.code(cookie, HOST)
    world.clock.advance(seconds=LOGIN_TIME.total_seconds() - 2)
    await visits.visit(HOST, cookie, "")
    world.clock.advance(seconds=2)
    with pytest.raises(Unauthenticated):
        await visits.visit(HOST, cookie, "")


async def test_a_code_is_good_once_for_a_minute_at_its_host(world: World, visits: Visits) -> None:
    login = await visits.log_in(await key_of(world, "alice"))
    assert await visits.user_of(login) == "alice"
    code = await visits.code(login, HOST)
    with pytest.raises(Unauthenticated):
        await visits.enter("3000--dev1--alice.localhost", code)
    await visits.enter(HOST, code)
    with pytest.raises(Unauthenticated, match="used already"):
        await visits.enter(HOST, code)
    late = await visits.code(login, HOST)
    world.clock.advance(seconds=61)
    with pytest.raises(Unauthenticated, match="too old"):
        await visits.enter(HOST, late)


async def test_a_revoked_key_ends_its_cookies(world: World, visits: Visits) -> None:
    credential, key = await world.access.create_api_key(ROOT, "alice")
    cookie = await entered(visits, key)
    await world.access.delete_api_key(ALICE, "me", credential.kid)
    with pytest.raises(Unauthenticated):
        await visits.visit(HOST, cookie, "")


async def test_a_cookie_has_the_scope_of_its_key(world: World, visits: Visits) -> None:
    _, key = await world.access.create_api_key(ROOT, "alice", scope=Scope.READ)
    with pytest.raises(NotPermitted):
        await visits.visit(HOST, "", key)
    cookie = await entered(visits, key)
    with pytest.raises(NotPermitted):
        await visits.visit(HOST, cookie, "")


async def test_a_later_user_of_the_same_name_is_another_person(world: World, visits: Visits) -> None:
    code = await visits.code_for("bob", HOST)
    cookie = await visits.enter(HOST, code)
    world.clock.advance(seconds=5)
    async with world.store.write("test") as tx:
        bob = await tx.get(User, "bob")
        assert bob is not None
        await tx.put(replace(bob, create_time=world.clock()))
    with pytest.raises(Unauthenticated):
        await visits.visit(HOST, cookie, "")
