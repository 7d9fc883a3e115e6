from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Caller, Role, User
from netvps.domain.access.sharing import MAX_SHARES, Right, Share, ShareRole
from netvps.domain.session.session import DesiredState, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Exhausted, InvalidInput, NotFound, NotPermitted
from netvps.services.feed import Topic
from netvps.tasks import Tasks
from tests.fakes.world import ALICE, BOB, ROOT
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.fakes.world import World

EVE = Caller("eve", Role.USER)


@pytest.fixture
async def _shared(world: World) -> None:
    """Alice's dev1 is shared with Bob to use and with Eve to view; her dev2 is not."""
    async with world.store.write("test") as tx:
        await tx.put(User("eve", Role.USER, world.clock()))
    for name in ("dev1", "dev2"):
        await world.session(name, ALICE, SessionSpec(env={"TOKEN": "secret"}))
    await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE)
    await world.shares.put(ALICE, "dev1", "eve", ShareRole.VIEW)


async def _names(world: World, caller: Caller, parent: str) -> list[str]:
    return [str(session.full_name) for session in (await world.sessions.list(caller, parent=parent)).items]


@pytest.mark.usefixtures("_shared")
async def test_who_has_a_share_reads_that_session_and_no_other(world: World) -> None:
    await world.session("own", BOB)
    assert (await world.sessions.get(BOB, "dev1.alice")).spec.env == {"TOKEN": "secret"}
    assert (await world.sessions.get(EVE, "dev1.alice")).spec.env == {}
    assert await _names(world, BOB, "-") == ["dev1.alice", "own.bob"]
    assert await _names(world, BOB, "alice") == ["dev1.alice"]
    assert await _names(world, BOB, "") == ["own.bob"]
    assert await _names(world, EVE, "-") == ["dev1.alice"]
    for name in ("dev2.alice", "dev9.alice"):
        with pytest.raises(NotFound, match=f"^no session {name}: see netvps ls$"):
            await world.sessions.get(BOB, name)
    with pytest.raises(NotFound, match=r"^no user root: see netvps user ls$"):
        await _names(world, BOB, "root")


@pytest.mark.usefixtures("_shared")
async def test_pages_of_what_is_visible_have_each_session_once(world: World) -> None:
    for name in ("a", "z"):
        await world.session(name, BOB)
    found, token = [], ""
    for _ in range(3):
        page = await world.sessions.list(BOB, parent="-", page_size=1, page_token=token)
        found += [session.name for session in page.items]
        token = page.next_page_token
    assert (found, token) == (["a", "dev1", "z"], "")


@pytest.mark.usefixtures("_shared")
async def test_no_share_lets_change_share_or_delete(world: World) -> None:
    refused = r"^session dev1\.alice is shared with you with role use, not to be changed: ask alice$"
    for change in (world.sessions.stop, world.sessions.start, world.sessions.delete, world.sessions.pause):
        with pytest.raises(NotPermitted, match=refused):
            await change(BOB, "dev1.alice")
    with pytest.raises(NotPermitted, match=refused):
        await world.shares.put(BOB, "dev1.alice", "eve", ShareRole.USE)
    with pytest.raises(NotPermitted, match=refused):
        await world.shares.delete(BOB, "dev1.alice", "eve")
    with pytest.raises(NotPermitted, match="with role view, not to log in"):
        await world.sessions.permitted(EVE, "dev1.alice", Right.LOGIN)


@pytest.mark.usefixtures("_shared")
async def test_a_share_is_changed_by_sharing_again(world: World) -> None:
    made = await world.shares.put(ALICE, "dev1", "eve", ShareRole.USE)
    assert (made.share.role, str(made.session)) == (ShareRole.USE, "dev1.alice")
    shares = (await world.shares.list(ALICE, session="dev1")).items
    assert [(named.share.user, named.share.role) for named in shares] == [("bob", "USE"), ("eve", "USE")]
    assert [str(named.session) for named in (await world.shares.list(EVE)).items] == ["dev1.alice"]


@pytest.mark.usefixtures("_shared")
async def test_a_repeated_request_has_one_effect(world: World) -> None:
    one = await world.shares.put(ALICE, "dev2", "bob", ShareRole.VIEW, request_id="r1")
    assert await world.shares.put(ALICE, "dev2", "bob", ShareRole.VIEW, request_id="r1") == one
    gone = await world.shares.delete(ALICE, "dev2", "bob", request_id="r2")
    assert await world.shares.delete(ALICE, "dev2", "bob", request_id="r2") == gone
    assert len(await world.rows(Share)) == 2


@pytest.mark.usefixtures("_shared")
async def test_a_user_may_give_a_share_up(world: World) -> None:
    await world.shares.delete(BOB, "dev1.alice", "bob")
    with pytest.raises(NotFound):
        await world.sessions.get(BOB, "dev1.alice")
    with pytest.raises(NotFound, match=r"session dev1\.alice is not shared with bob: see netvps shares dev1\.alice"):
        await world.shares.delete(ALICE, "dev1", "bob")


@pytest.mark.usefixtures("_shared")
@pytest.mark.parametrize("name", ["dev2.alice", "dev9.alice"])
async def test_strangers_learn_nothing_of_names(world: World, name: str) -> None:
    missing = f"^no session {name}: see netvps ls$"
    with pytest.raises(NotFound, match=missing):
        await world.shares.list(BOB, session=name)
    with pytest.raises(NotFound, match=missing):
        await world.shares.put(BOB, name, "eve", ShareRole.VIEW)
    with pytest.raises(NotFound, match=missing):
        await world.shares.delete(BOB, name, "bob")


@pytest.mark.usefixtures("_shared")
async def test_bad_shares_are_refused(world: World) -> None:
    with pytest.raises(NotFound, match=r"^no user mallory: see netvps user ls$"):
        await world.shares.put(ALICE, "dev1", "mallory", ShareRole.USE)
    with pytest.raises(InvalidInput, match=r"^user: alice owns the session"):
        await world.shares.put(ALICE, "dev1", "alice", ShareRole.USE)
    with pytest.raises(InvalidInput, match=r"^expire_time: .* is over: give a time in the future$"):
        await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE, world.clock())


@pytest.mark.usefixtures("_shared")
async def test_the_number_of_shares_is_limited(world: World) -> None:
    async with world.store.write("test") as tx:
        for number in range(MAX_SHARES):
            await tx.put(User(f"u{number}", Role.USER, world.clock()))
    for number in range(MAX_SHARES - 2):
        await world.shares.put(ROOT, "dev1.alice", f"u{number}", ShareRole.VIEW)
    with pytest.raises(Exhausted, match=r"is shared with 100 users, which is the limit: end a share first"):
        await world.shares.put(ROOT, "dev1.alice", "u99", ShareRole.VIEW)
    await world.shares.put(ROOT, "dev1.alice", "bob", ShareRole.VIEW)


@pytest.mark.usefixtures("_shared")
async def test_shares_end_with_their_session_and_with_their_user(world: World) -> None:
    await world.access.delete_user(ROOT, "eve")
    assert [share.user for share in await world.rows(Share)] == ["bob"]
    session = await world.sessions.delete(ALICE, "dev1")
    if session.state is not SessionState.DELETED:
        await world.reported(session, SessionState.DELETED)
    assert session.desired is DesiredState.DELETED
    assert await world.rows(Share) == []


@pytest.mark.usefixtures("_shared")
async def test_a_share_is_void_from_its_end_on_and_then_removed(world: World) -> None:
    await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE, world.clock() + timedelta(hours=1))
    assert 3599 < await world.shares.expire() <= 3600
    world.clock.advance(seconds=3600)
    with pytest.raises(NotFound):
        await world.sessions.get(BOB, "dev1.alice")
    assert await _names(world, BOB, "-") == []
    assert [named.share.user for named in (await world.shares.list(ALICE, session="dev1")).items] == ["eve"]
    assert len(await world.rows(Share)) == 2
    await world.shares.expire()
    assert [share.user for share in await world.rows(Share)] == ["eve"]


@pytest.mark.usefixtures("_shared")
async def test_the_end_of_a_share_is_kept_while_the_program_runs(world: World) -> None:
    async with Tasks() as tasks, world.feed.subscribe(Topic(Share.kind)) as news, asyncio.timeout(PATIENCE):
        tasks.start(world.shares.run(), name="ends of shares")
        await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE, world.clock() + timedelta(milliseconds=50))
        world.clock.advance(seconds=1)
        while not (ended := await anext(news)).deleted:
            pass
        assert isinstance(ended.resource, Share)
        assert ended.resource.user == "bob"
