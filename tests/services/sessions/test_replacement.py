"""A session in the place of another one: at once, once, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.sharing import Share, ShareRole
from netvps.domain.http.stored import Audience, StoredUrl
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Changed, InvalidInput, NotFound, NotPermitted, WrongState
from tests.fakes.world import ALICE, BOB

if TYPE_CHECKING:
    from tests.fakes.world import World


async def _two(world: World) -> tuple[Session, Session]:
    """web with its URLs and a share, and next, both running."""
    await world.runner()
    made = [await world.reported(await world.session(name), SessionState.RUNNING) for name in ("web", "next")]
    await world.shares.put(ALICE, "web", "bob", ShareRole.USE)
    async with world.store.write("test") as tx:
        for session, port, name in (
            (made[0], 80, ""),
            (made[0], 80, "shop.example"),
            (made[0], 81, ""),
            (made[1], 81, ""),
        ):
            await tx.put(StoredUrl(session.uid, "alice", port, Audience.PUBLIC, world.clock(), name))
    return made[0], made[1]


async def test_name_urls_and_shares_move_at_once_and_the_old_one_is_deleted(world: World) -> None:
    old, new = await _two(world)
    replacements = world.sessions.replacements
    made = await replacements.replace(ALICE, "web", "next", request_id="r", expected_revision=0)
    assert (made.uid, made.name) == (new.uid, "web")
    assert await replacements.replace(ALICE, "web", "next", request_id="r", expected_revision=0) == made
    assert (await world.sessions.get(ALICE, "web")).uid == new.uid
    gone = await world.require(Session, old.uid)
    assert (gone.name, gone.desired) == (f"web-{old.uid}", DesiredState.DELETED)
    assert {(url.session, url.id) for url in await world.rows(StoredUrl)} == {
        (new.uid, "80"), (new.uid, "shop.example"), (new.uid, "81"),
    }  # fmt: skip
    assert [(share.session, share.user) for share in await world.rows(Share)] == [(new.uid, "bob")]
    await world.reported(gone, SessionState.DELETED)
    assert await world.row(Session, old.uid) is None
    assert len(await world.rows(StoredUrl)) == 3


async def test_what_is_refused_changes_nothing(world: World) -> None:
    old, _ = await _two(world)
    replacements, before = world.sessions.replacements, await world.revision()
    for caller, names, error in (
        (ALICE, ("web", "web"), InvalidInput),
        (ALICE, ("web", "next.bob"), InvalidInput),
        (ALICE, ("web", "none"), NotFound),
        (BOB, ("web.alice", "next.alice"), NotPermitted),
    ):
        with pytest.raises(error):
            await replacements.replace(caller, *names)
    with pytest.raises(Changed, match=rf"changed since revision 1 \(it is at {old.revision}\)"):
        await replacements.replace(ALICE, "web", "next", expected_revision=1)
    assert await world.revision() == before
    await world.sessions.update(ALICE, "web", SessionSpec(delete_protection=True), {"delete_protection"})
    with pytest.raises(WrongState, match="protected"):
        await replacements.replace(ALICE, "web", "next")


async def test_only_who_has_the_lease_replaces_a_session(world: World) -> None:
    await _two(world)
    replacements = world.sessions.replacements
    lease = await world.leases.acquire(ALICE, "web", "deploy", 60.0)
    with pytest.raises(WrongState, match="is leased by deploy"):
        await replacements.replace(ALICE, "web", "next")
    made = await replacements.replace(replace(ALICE, lease=lease.lease.epoch), "web", "next")
    assert made.name == "web"


async def test_a_session_that_no_runner_has_is_gone_at_once(world: World) -> None:
    await world.session("web")
    new = await world.session("next")
    await world.sessions.replacements.replace(ALICE, "web", "next")
    assert [session.uid for session in await world.rows(Session)] == [new.uid]
