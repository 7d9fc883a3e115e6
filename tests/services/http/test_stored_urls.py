"""Stored URLs: who may store them, what is refused, and how they end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from netvps.domain.access.accounts import Role
from netvps.domain.access.sharing import ShareRole
from netvps.domain.http.site import Site
from netvps.domain.http.stored import MAX_URLS, Audience, StoredUrl
from netvps.domain.session.lifecycle import set_desired
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session
from netvps.domain.sleep.waking import LoginEffect
from netvps.errors import AlreadyExists, Exhausted, InvalidInput, NotFound, NotPermitted, Unauthenticated, WrongState
from netvps.services.http.stored_urls import StoredUrls
from netvps.services.http.visits import LINK_ENDED, Visits
from tests.fakes.vault import FakeVault
from tests.fakes.world import ALICE, BOB, ROOT
from tests.services.http.test_visits import entered, key_of

if TYPE_CHECKING:
    from tests.fakes.world import World

HOST = "dev1--alice.apps.example"
HOUR = timedelta(hours=1)


@pytest.fixture
async def urls(world: World) -> StoredUrls:
    """Alice has dev1, Bob has web."""
    await world.session("dev1", ALICE)
    await world.session("web", BOB)
    visits = Visits(world.store, world.clock, world.access, FakeVault(), Site.parse("https://apps.example", "root"))
    return StoredUrls(world.store, world.clock, visits, ("netvps.example",))


async def admitted(urls: StoredUrls, host: str, cookie: str = "", api_key: str = "") -> str:
    """The session and the user of a request that is let through."""
    found = await urls._visits.visit(host, cookie, api_key)
    return f"{found.session.full_name} {found.port} {found.user}"


async def test_the_public_opens_what_is_public_and_nothing_else(urls: StoredUrls) -> None:
    named = await urls.put(ALICE, "dev1", 8080, Audience.PUBLIC)
    assert (named.uri, named.url.id) == (f"https://{HOST}/", "8080")
    assert await admitted(urls, HOST) == "dev1.alice 8080 "
    for host in ("3000--dev1--alice.apps.example", "web--bob.apps.example", "shop.example"):
        with pytest.raises(Unauthenticated):
            await admitted(urls, host)
    await urls.delete(ALICE, "dev1", "8080")
    with pytest.raises(Unauthenticated):
        await admitted(urls, HOST)


async def test_named_users_and_members_come_in_who_may_not_log_in(world: World, urls: StoredUrls) -> None:
    await world.access.create_user(ROOT, "eve", Role.VIEWER)
    bob, eve = await key_of(world, "bob"), await key_of(world, "eve")
    await urls.put(ALICE, "dev1", 8080, Audience.USERS, users=("bob", "bob"))
    assert await admitted(urls, HOST, api_key=bob) == "dev1.alice 8080 bob"
    with pytest.raises(NotFound):
        await admitted(urls, HOST, api_key=eve)
    await urls.put(ALICE, "dev1", 8080, Audience.MEMBERS)
    assert await admitted(urls, HOST, api_key=eve) == "dev1.alice 8080 eve"
    with pytest.raises(Unauthenticated):
        await admitted(urls, HOST)


async def test_a_removed_user_is_named_by_no_url(world: World, urls: StoredUrls) -> None:
    await world.access.create_user(ROOT, "eve", Role.USER)
    await urls.put(ALICE, "dev1", 8080, Audience.USERS, users=("bob", "eve"))
    await world.access.delete_user(ROOT, "eve")
    assert [url.users for url in await world.rows(StoredUrl)] == [("bob",)]


async def test_a_host_of_its_own(world: World, urls: StoredUrls) -> None:
    named = await urls.put(ALICE, "dev1", 3000, Audience.PRIVATE, name="shop.example")
    assert named.uri == "https://shop.example/"
    alice = await key_of(world, "alice")
    cookie = await entered(urls._visits, alice, "shop.example")
    assert await admitted(urls, "shop.example", cookie) == "dev1.alice 3000 alice"
    with pytest.raises(NotFound):
        await admitted(urls, "shop.example", api_key=await key_of(world, "bob"))
    with pytest.raises(NotFound, match=r"nothing is served at other\.example"):
        await entered(urls._visits, alice, "other.example")
    await urls.put(ALICE, "dev1", 4000, Audience.PUBLIC, name="shop.example")
    assert await admitted(urls, "shop.example") == "dev1.alice 4000 "


async def test_a_host_has_one_session_which_is_named_only_to_its_owner(world: World, urls: StoredUrls) -> None:
    await urls.put(ALICE, "dev1", 3000, Audience.PUBLIC, name="shop.example")
    await world.session("dev2", ALICE)
    with pytest.raises(
        AlreadyExists, match=r"leads to session dev1\.alice: .* netvps url rm dev1\.alice shop\.example"
    ):
        await urls.put(ALICE, "dev2", 3000, Audience.PUBLIC, name="shop.example")
    with pytest.raises(AlreadyExists, match="leads to another session: choose another name"):
        await urls.put(BOB, "web", 3000, Audience.PUBLIC, name="shop.example")
    with pytest.raises(NotFound):
        await urls.delete(BOB, "web", "shop.example")


async def test_what_is_refused(world: World, urls: StoredUrls) -> None:
    later = world.clock() + HOUR
    with pytest.raises(InvalidInput, match="--public, --members"):
        await urls.put(ALICE, "dev1", 80, Audience.PRIVATE)
    with pytest.raises(InvalidInput, match="CreateUrlLink"):
        await urls.put(ALICE, "dev1", 80, Audience.LINK)
    with pytest.raises(InvalidInput, match="1 to 100 users"):
        await urls.put(ALICE, "dev1", 80, Audience.USERS)
    with pytest.raises(InvalidInput, match="1 to 100 users"):
        await urls.put(ALICE, "dev1", 80, Audience.PUBLIC, users=("bob",))
    with pytest.raises(InvalidInput, match="a name of this server"):
        await urls.put(ALICE, "dev1", 80, Audience.PUBLIC, name="netvps.example")
    with pytest.raises(InvalidInput, match="is over"):
        await urls.put(ALICE, "dev1", 80, Audience.PUBLIC, expire_time=world.clock())
    with pytest.raises(NotFound, match="no user noone"):
        await urls.put(ALICE, "dev1", 80, Audience.USERS, users=("noone",))
    with pytest.raises(NotFound, match=r"no session dev1\.alice"):
        await urls.put(BOB, "dev1.alice", 80, Audience.PUBLIC)
    await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE)
    for call in (
        urls.put(BOB, "dev1.alice", 80, Audience.PUBLIC),
        urls.create_link(BOB, "dev1.alice", 80, later),
        urls.delete(BOB, "dev1.alice", "80"),
        urls.list(BOB, session="dev1.alice"),
    ):
        with pytest.raises(NotPermitted):
            await call
    with pytest.raises(NotFound, match="has no URL 80: see netvps url ls"):
        await urls.delete(ALICE, "dev1", "80")
    for end in (None, world.clock() + timedelta(days=31)):
        with pytest.raises(InvalidInput, match="at most 30 days"):
            await urls.create_link(ALICE, "dev1", 80, end)
    await world.session("a--b", ALICE)
    with pytest.raises(WrongState, match="has no host"):
        await urls.put(ALICE, "a--b", 80, Audience.PUBLIC)


async def test_an_owner_has_a_limit(world: World, urls: StoredUrls) -> None:
    session = (await world.rows(Session, owner="alice"))[0]
    async with world.store.write("test") as tx:
        for port in range(1, MAX_URLS + 1):
            await tx.put(StoredUrl(session.uid, "alice", port, Audience.PUBLIC, world.clock()))
    with pytest.raises(Exhausted, match="alice has 100 stored URLs"):
        await urls.put(ALICE, "dev1", 9000, Audience.PUBLIC)
    await urls.put(ALICE, "dev1", 1, Audience.MEMBERS)  # changes one


async def test_a_repeated_request_is_carried_out_once(world: World, urls: StoredUrls) -> None:
    first = await urls.put(ALICE, "dev1", 80, Audience.PUBLIC, request_id="r1")
    assert await urls.put(ALICE, "dev1", 80, Audience.PUBLIC, request_id="r1") == first
    removed = await urls.delete(ALICE, "dev1", "80", "r2")
    assert await urls.delete(ALICE, "dev1", "80", "r2") == removed
    end = world.clock() + HOUR
    await urls.create_link(ALICE, "dev1", 80, end, "r3")
    with pytest.raises(AlreadyExists, match="shown only once"):
        await urls.create_link(ALICE, "dev1", 80, end, "r3")


async def test_urls_are_listed_by_session_and_owner_and_end_by_themselves(world: World, urls: StoredUrls) -> None:
    await urls.put(ALICE, "dev1", 80, Audience.PUBLIC, expire_time=world.clock() + HOUR)
    await urls.put(BOB, "web", 80, Audience.PUBLIC)
    assert [str(named.session) for named in (await urls.list(ALICE, session="dev1")).items] == ["dev1.alice"]
    assert [str(named.session) for named in (await urls.list(BOB)).items] == ["web.bob"]
    assert [str(named.session) for named in (await urls.list(ROOT, user="alice")).items] == ["dev1.alice"]
    assert await urls.expire() == HOUR.total_seconds()
    world.clock.advance(seconds=HOUR.total_seconds())
    with pytest.raises(Unauthenticated):
        await admitted(urls, "80--dev1--alice.apps.example")
    assert (await urls.list(ALICE)).items == []
    await urls.expire()
    assert [url.owner for url in await world.rows(StoredUrl)] == ["bob"]


async def test_a_link_opens_one_port_until_it_ends_or_is_removed(world: World, urls: StoredUrls) -> None:
    end = world.clock() + HOUR
    (first, uri), (second, other) = [await urls.create_link(ALICE, "dev1", 8080, end) for _ in range(2)]
    assert uri != other
    parts = urlsplit(uri)
    assert (parts.netloc, parts.path) == (HOST, "/.netvps/link")
    cookies = [
        await urls._visits.enter_by_link(HOST, parse_qs(urlsplit(each).query)["key"][0]) for each in (uri, other)
    ]
    assert await admitted(urls, HOST, cookies[0]) == f"dev1.alice 8080 {first.url.id}"
    for host in ("3000--dev1--alice.apps.example", "login.apps.example"):
        with pytest.raises(Unauthenticated):
            await admitted(urls, host, cookies[0])
    for call in (urls._visits.user_of(cookies[0]), urls._visits.code(cookies[0], HOST)):
        with pytest.raises(Unauthenticated):
            await call
    await urls.delete(ALICE, "dev1", first.url.id)
    with pytest.raises(Unauthenticated, match="this link has ended") as ended:
        await admitted(urls, HOST, cookies[0])
    assert ended.value.reason == LINK_ENDED
    assert await admitted(urls, HOST, cookies[1]) == f"dev1.alice 8080 {second.url.id}"
    world.clock.advance(seconds=HOUR.total_seconds())
    with pytest.raises(Unauthenticated):
        await admitted(urls, HOST, cookies[1])
    with pytest.raises(Unauthenticated, match="this link has ended"):
        await urls._visits.enter_by_link(HOST, parse_qs(urlsplit(other).query)["key"][0])


@pytest.mark.parametrize(("cause", "effect"), [("PERSON", LoginEffect.REFUSED), ("IDLE", LoginEffect.START)])
async def test_the_public_undoes_no_stop_of_a_person(
    world: World, urls: StoredUrls, cause: str, effect: LoginEffect
) -> None:
    await urls.put(ALICE, "dev1", 8080, Audience.PUBLIC)
    session = (await world.rows(Session, owner="alice"))[0]
    async with world.store.write("test") as tx:
        by = Author("alice", ChangeCause(cause))
        stopped = set_desired(session, DesiredState.STOPPED, world.clock(), by)
        await tx.put(replace(stopped, message="image x of dev1"))
    ref = (await urls._visits.visit(HOST, "", "")).session
    assert (ref.effect, ref.message) == (effect, "")


async def test_a_renamed_session_has_its_urls_at_its_new_name(world: World, urls: StoredUrls) -> None:
    await urls.put(ALICE, "dev1", 8080, Audience.PUBLIC)
    await urls.put(ALICE, "dev1", 8080, Audience.PUBLIC, name="shop.example")
    session = (await world.rows(Session, owner="alice"))[0]
    async with world.store.write("test") as tx:
        await tx.put(replace(session, name="a--b"))
    uris = {named.url.id: named.uri for named in (await urls.list(ALICE)).items}
    assert uris == {"8080": "", "shop.example": "https://shop.example/"}
