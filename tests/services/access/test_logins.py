from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Caller, Role, User
from netvps.domain.access.sharing import ShareRole
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.names import SshLogin
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.waking import LoginKind
from netvps.errors import NotFound, NotPermitted, Unavailable
from netvps.services.access.logins import Logins, ref_to
from tests.fakes.counting import CountingStore
from tests.fakes.keys import ed25519
from tests.fakes.world import ALICE, BOB, ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World


def _print(number: int) -> str:
    return PublicKey.parse(ed25519(number)).fingerprint


async def _let(world: World, login: str, key: int) -> str:
    """Who gets in where: "alice as root in dev1.alice"."""
    grant = await world.logins.authorize(SshLogin.parse(login), _print(key))
    return f"{grant.user} as {grant.unix_user} in {grant.session.full_name}"


@pytest.fixture
async def _keys(world: World) -> None:
    """Alice has key 1, Bob key 2, root key 3; Alice's dev1 also takes key 4, and Bob's both."""
    for number, caller in enumerate((ALICE, BOB, ROOT), start=1):
        await world.ssh_keys.create(caller, PublicKey.parse(ed25519(number)))
    await world.session("dev1", ALICE, SessionSpec(authorized_keys=(f"{ed25519(4)} carol@desk",)))
    await world.session("dev2", ALICE, SessionSpec(authorized_keys=(ed25519(2), ed25519(4))))
    await world.session("dev1", BOB, SessionSpec(authorized_keys=(ed25519(4), ed25519(5))))


@pytest.mark.usefixtures("_keys")
@pytest.mark.parametrize(
    ("login", "key", "who"),
    [
        ("dev1", 1, "alice as root in dev1.alice"),
        ("dev1+www-data", 1, "alice as www-data in dev1.alice"),
        ("dev1.alice", 1, "alice as root in dev1.alice"),
        ("dev1", 2, "bob as root in dev1.bob"),
        ("dev1.alice", 3, "root as root in dev1.alice"),
        ("dev1.bob+me", 3, "root as me in dev1.bob"),
        ("dev2.alice", 2, "bob as root in dev2.alice"),  # his key is in its spec
        ("dev2", 2, "bob as root in dev2.alice"),
        ("dev1.alice", 4, f"{_print(4)} as root in dev1.alice"),
        ("dev2", 4, f"{_print(4)} as root in dev2.alice"),
        ("dev1", 5, f"{_print(5)} as root in dev1.bob"),
    ],
)
async def test_a_key_opens_what_it_should(world: World, login: str, key: int, who: str) -> None:
    assert await _let(world, login, key) == who


@pytest.mark.usefixtures("_keys")
@pytest.mark.parametrize(
    ("login", "key", "missing"),
    [
        ("dev1.bob", 1, "dev1.bob"),
        ("dev9.bob", 1, "dev9.bob"),
        ("dev9+me", 1, "dev9.alice"),
        ("dev2.root", 3, "dev2.root"),
    ],
)
async def test_foreign_and_missing_sessions_look_the_same(world: World, login: str, key: int, missing: str) -> None:
    with pytest.raises(NotFound) as caught:
        await _let(world, login, key)
    assert str(caught.value) == f"no session {missing}: see netvps ls"


@pytest.mark.usefixtures("_keys")
@pytest.mark.parametrize(("login", "key"), [("dev1.alice", 5), ("dev9", 4), ("dev1.alice", 6), ("dev9", 6)])
async def test_an_unknown_key_learns_nothing_of_sessions(world: World, login: str, key: int) -> None:
    with pytest.raises(NotPermitted) as caught:
        await _let(world, login, key)
    assert str(caught.value) == f"key {_print(key)} is not registered: add it with netvps key add"


@pytest.mark.usefixtures("_keys")
async def test_a_key_that_opens_several_of_a_name_is_asked_which(world: World) -> None:
    with pytest.raises(NotFound, match=r"several sessions named dev1: name one of dev1\.alice, dev1\.bob$"):
        await _let(world, "dev1", 4)


@pytest.mark.usefixtures("_keys")
async def test_a_revoked_key_opens_nothing_any_more(world: World) -> None:
    await world.ssh_keys.delete(ALICE, "", _print(1))
    with pytest.raises(NotPermitted):
        await _let(world, "dev1", 1)


async def test_the_grant_tells_the_state(world: World) -> None:
    await world.runner()
    await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(1)))
    session = await world.session()
    await world.reported(session, SessionState.RUNNING)
    grant = await world.logins.authorize(SshLogin.parse("dev1"), _print(1))
    assert grant.session.state is SessionState.RUNNING
    assert await world.logins.certify(grant, "KEY") == f"user KEY is {session.uid}/root (alice@dev1.alice)"


@pytest.mark.parametrize("owners", [1, 40])
async def test_an_offered_key_costs_the_same_however_many_sessions_have_the_name(world: World, owners: int) -> None:
    await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(1)))
    for number in range(owners):
        caller = Caller(f"user{number}", Role.USER)
        async with world.store.write("test") as tx:
            await tx.put(User(caller.user, caller.role, world.clock()))
        await world.session("dev1", caller, SessionSpec(authorized_keys=(ed25519(number + 10),)))
    store = CountingStore(world.store)
    logins = Logins(store, world.clock, world.ca, world.feed)
    for offered in (1, 2):
        with suppress(NotFound, NotPermitted):
            await logins.authorize(SshLogin.parse("dev1"), _print(offered))
    # A registered key: its row, its user, the user's session of that name, and one by the key in its spec.
    assert (store.reads, store.rows, store.writes) == (4 + 2, 2, 0)
    grant = await logins.authorize(SshLogin.parse("dev1"), _print(10 + owners - 1))
    assert grant.session.owner == f"user{owners - 1}"
    assert (store.reads, store.rows, store.writes) == (6 + 2, 2 + 1, 0)


async def test_of_many_sessions_that_a_key_opens_only_some_are_read_and_named(world: World) -> None:
    for number in range(9):
        caller = Caller(f"user{number}", Role.USER)
        async with world.store.write("test") as tx:
            await tx.put(User(caller.user, caller.role, world.clock()))
        await world.session("dev1", caller, SessionSpec(authorized_keys=(ed25519(4),)))
    store = CountingStore(world.store)
    with pytest.raises(
        NotFound, match=r"name one of dev1\.user0, dev1\.user1, dev1\.user2, dev1\.user3, dev1\.user4, …$"
    ):
        await Logins(store, world.clock, world.ca, world.feed).authorize(SshLogin.parse("dev1"), _print(4))
    assert store.rows == 6


async def _paused(world: World) -> Session:
    await world.runner()
    session = await world.reported(await world.session(), SessionState.RUNNING)
    await world.sessions.pause(ALICE, "dev1")
    return await world.reported(session, SessionState.PAUSED)


async def test_a_login_wakes_a_paused_session_once(world: World) -> None:
    session = await _paused(world)
    await asyncio.gather(*(world.logins.wake(session.uid, "bob", LoginKind.PLAIN) for _ in range(20)))
    woken = await world.row(Session, session.uid)
    assert woken is not None
    assert (woken.desired, woken.generation) == (DesiredState.RUNNING, session.generation + 1)
    assert woken.desired_by == Author("bob", ChangeCause.LOGIN)
    await world.logins.wake(session.uid, "bob", LoginKind.PLAIN)
    assert await world.row(Session, session.uid) == woken


async def test_a_login_to_a_paused_session_on_a_silent_runner_is_explained(world: World) -> None:
    session = await _paused(world)
    await world.runners.offline(session.runner)
    with pytest.raises(Unavailable, match=r"^it is paused, and its runner lab1 is offline: try when"):
        await world.logins.wake(session.uid, "alice", LoginKind.PLAIN)


async def test_a_session_counts_as_paused_from_the_moment_that_is_asked_for(world: World) -> None:
    await world.runner()
    session = await world.reported(await world.session(), SessionState.RUNNING)
    assert ref_to(session).state is SessionState.RUNNING
    pausing = await world.sessions.pause(ALICE, "dev1")
    assert (pausing.state, ref_to(pausing).state) == (SessionState.RUNNING, SessionState.PAUSED)
    assert ref_to(replace(pausing, state=SessionState.STOPPED)).state is SessionState.STOPPED


@pytest.mark.usefixtures("_keys")
@pytest.mark.parametrize(
    ("role", "login", "who"),
    [
        (ShareRole.USE, "dev1.alice", "bob as root in dev1.alice"),
        (ShareRole.USE, "dev1.alice+www-data", "bob as www-data in dev1.alice"),
        (ShareRole.USE, "watch+dev1.alice", "bob as .watch in dev1.alice"),
        (ShareRole.VIEW, "watch+dev1.alice", "bob as .watch in dev1.alice"),
        (ShareRole.VIEW, "dev1", "bob as root in dev1.bob"),
    ],
)
async def test_a_share_opens_what_its_role_is_for(world: World, role: ShareRole, login: str, who: str) -> None:
    await world.shares.put(ALICE, "dev1", "bob", role)
    assert await _let(world, login, 2) == who
    grant = await world.logins.authorize_user(SshLogin.parse(login), "bob")
    assert f"{grant.user} as {grant.unix_user} in {grant.session.full_name}" == who


@pytest.mark.usefixtures("_keys")
@pytest.mark.parametrize(
    ("role", "login"),
    [
        (ShareRole.VIEW, "dev1.alice"),
        (ShareRole.VIEW, "dev1.alice+.snapshots"),
        (ShareRole.USE, "dev1.alice+.snapshots"),
    ],
)
async def test_a_share_opens_no_more(world: World, role: ShareRole, login: str) -> None:
    await world.shares.put(ALICE, "dev1", "bob", role)
    with pytest.raises(NotPermitted, match=r"^session dev1\.alice is shared with you"):
        await _let(world, login, 2)
    with pytest.raises(NotPermitted):
        await world.logins.authorize_user(SshLogin.parse(login), "bob")


@pytest.mark.usefixtures("_keys")
async def test_a_share_opens_nothing_before_and_after_it(world: World) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            await _let(world, "dev1.alice", 2)
        await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE, world.clock() + timedelta(seconds=5))
        await _let(world, "dev1.alice", 2)
        world.clock.advance(seconds=5)
