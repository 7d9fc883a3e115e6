"""Snapshots from the order to the record: netvps.services.snapshots.take, netvps.services.snapshots.results and
netvps.services.snapshots.use.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.session import Session, SessionReport, SessionState, SnapshotImage
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.domain.snapshot.snapshot import (
    RestoreResult,
    RestoreState,
    Snapshot,
    SnapshotCause,
    SnapshotChange,
    SnapshotDraft,
    SnapshotOrder,
    SnapshotResult,
    SnapshotState,
)
from netvps.errors import AlreadyExists, Changed, Exhausted, NotFound, Unavailable, WrongState
from netvps.services.snapshots.snapshots import Snapshots
from netvps.services.snapshots.take import Limits
from tests.fakes.world import ALICE, BOB, HELLO
from tests.services.snapshots.taking import TAKES, ready, report, running, taken
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.fakes.clock import FakeClock
    from tests.fakes.world import World


async def test_a_snapshot_is_ordered_and_recorded_once_its_runner_has_it(world: World) -> None:
    session = await running(world)
    snapshot = await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one", "before the upgrade", {"a": "b"}))
    assert (snapshot.state, snapshot.cause, snapshot.full_name) == ("CREATING", "REQUEST", "dev1.alice/one")
    row = await world.row(Session, session.uid)
    assert row is not None
    assert row.snapshot_orders == (SnapshotOrder(snapshot.uid),)
    assert row.generation == session.generation  # the session itself is asked for nothing
    await ready(world, snapshot)
    done = await world.snapshots.get(ALICE, "dev1", "one")
    assert (done.state, done.size_bytes, [holder.name for holder in done.holders]) == ("READY", 7, ["lab1"])
    row = await world.row(Session, session.uid)
    assert row is not None
    assert row.snapshot_orders == ()


async def test_without_an_id_it_is_named_by_the_time(world: World, clock: FakeClock) -> None:
    await running(world)
    ids = [(await world.snapshots.create(ALICE, "dev1", SnapshotDraft())).id for _ in range(3)]
    stem = f"{clock():%Y%m%d-%H%M%S}"
    assert ids == [stem, f"{stem}-2", f"{stem}-3"]


async def test_an_id_is_used_once_per_session_and_a_request_id_once(world: World) -> None:
    await running(world)
    first = await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one"), request_id="r")
    assert await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one"), request_id="r") == first
    with pytest.raises(AlreadyExists, match=r"^session dev1\.alice has a snapshot one already"):
        await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one"))


async def test_of_what_has_no_files_no_snapshot_is_taken(world: World) -> None:
    await world.session("dev1")
    with pytest.raises(WrongState, match="has no files yet"):
        await world.snapshots.create(ALICE, "dev1", SnapshotDraft())
    await world.runner("lab1", hello=replace(HELLO, capabilities=()))
    with pytest.raises(WrongState, match=r"takes no snapshots, with version 1\.0: upgrade it"):
        await world.snapshots.create(ALICE, "dev1", SnapshotDraft())


@pytest.mark.parametrize(
    ("state", "error"),
    [(SessionState.PENDING, WrongState), (SessionState.FAILED, WrongState), (SessionState.UNREACHABLE, Unavailable)],
)
async def test_a_session_in_another_state_says_so(world: World, state: SessionState, error: type[Exception]) -> None:
    session = await running(world)
    async with world.store.write("test") as tx:
        await tx.put(replace(session, state=state))
    with pytest.raises(error):
        await world.snapshots.create(ALICE, "dev1", SnapshotDraft())


async def test_a_session_that_is_being_deleted_has_no_snapshots_any_more(world: World) -> None:
    await running(world)
    await world.sessions.delete(ALICE, "dev1")
    with pytest.raises(WrongState, match="is being deleted"):
        await world.snapshots.create(ALICE, "dev1", SnapshotDraft())


async def test_others_see_nothing_of_it(world: World) -> None:
    await taken(world, "one")
    for request in (
        world.snapshots.get(BOB, "dev1.alice", "one"),
        world.snapshots.list(BOB, session="dev1.alice"),
        world.snapshots.delete(BOB, "dev1.alice", "one"),
        world.snapshots.restore(BOB, "dev1.alice", "one"),
        world.clones.clone(BOB, "dev1.alice", session_id="x"),
    ):
        with pytest.raises(NotFound, match=r"^no session dev1\.alice"):
            await request
    assert (await world.snapshots.list(BOB, parent="-")).items == []


async def test_numbers_are_limited_per_session_and_per_user(world: World) -> None:
    await running(world)
    for _ in range(5):
        await world.snapshots.create(ALICE, "dev1", SnapshotDraft())
    with pytest.raises(Exhausted, match=r"^session dev1\.alice has 5 snapshots, which is the limit"):
        await world.snapshots.create(ALICE, "dev1", SnapshotDraft())
    await running(world, "dev2")
    for _ in range(3):
        await world.snapshots.create(ALICE, "dev2", SnapshotDraft())
    with pytest.raises(Exhausted, match=r"^user alice has 8 snapshots"):
        await world.snapshots.create(ALICE, "dev2", SnapshotDraft())


async def test_a_failure_is_recorded_and_hurts_nothing(world: World) -> None:
    session = await running(world)
    snapshot = await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one"))
    result = SnapshotResult(snapshot.uid, SnapshotState.FAILED, "disk", "the disk is full")
    await report(world, session, result)
    failed = await world.snapshots.get(ALICE, "dev1", "one")
    assert (failed.state, failed.reason, failed.message) == ("FAILED", "disk", "the disk is full")
    assert (await world.sessions.get(ALICE, "dev1")).state is SessionState.RUNNING
    with pytest.raises(WrongState, match=r"is FAILED, not READY: the disk is full"):
        await world.snapshots.restore(ALICE, "dev1", "one")


async def test_a_deletion_is_ordered_and_ends_with_the_row(world: World) -> None:
    session, snapshot = await taken(world, "one")
    gone = await world.snapshots.delete(ALICE, "dev1", "one")
    assert gone.state is SnapshotState.DELETING
    assert (await world.snapshots.delete(ALICE, "dev1", "one")).state is SnapshotState.DELETING
    await report(world, session, SnapshotResult(snapshot.uid, SnapshotState.READY))  # a late one changes nothing
    assert await world.row(Snapshot, snapshot.uid) == gone
    await report(world, session, SnapshotResult(snapshot.uid, SnapshotState.DELETING))
    assert await world.row(Snapshot, snapshot.uid) is None


async def test_a_pinned_one_protects_itself_and_its_session(world: World) -> None:
    _, snapshot = await taken(world, "one")
    pinned = await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(pinned=True, description="gold"))
    assert (pinned.pinned, pinned.description, pinned.labels) == (True, "gold", snapshot.labels)
    with pytest.raises(WrongState, match=r"is pinned: first run netvps snapshot unpin dev1\.alice one$"):
        await world.snapshots.delete(ALICE, "dev1", "one")
    with pytest.raises(WrongState, match=r"has a pinned snapshot \(one\)"):
        await world.sessions.delete(ALICE, "dev1")
    with pytest.raises(Changed):
        await world.snapshots.update(
            ALICE, "dev1", "one", SnapshotChange(pinned=False), expected_revision=snapshot.revision
        )
    await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(pinned=False))
    await world.sessions.delete(ALICE, "dev1")


async def test_with_a_session_its_snapshots_go(world: World) -> None:
    session, _ = await taken(world, "one")
    await world.sessions.delete(ALICE, "dev1")
    row = await world.row(Session, session.uid)
    assert row is not None
    await world.runners.report(row.runner, SessionReport(row.uid, row.epoch, row.generation, SessionState.DELETED))
    assert await world.rows(Snapshot) == []


async def test_a_stop_leaves_a_snapshot_and_rotates_the_one_before(world: World, clock: FakeClock) -> None:
    session = await running(world)
    for number in (1, 2):
        await _stop(world, session, f"{number:013}", number)
        clock.advance(seconds=60)
    snapshots = (await world.snapshots.list(ALICE, session="dev1")).items
    assert [(one.cause, one.state) for one in snapshots] == [
        (SnapshotCause.STOP, SnapshotState.DELETING),
        (SnapshotCause.STOP, SnapshotState.READY),
    ]
    row = await world.row(Session, session.uid)
    assert row is not None
    assert row.snapshot_orders == (SnapshotOrder("0000000000001", delete=True),)


async def test_age_deletes_automatic_ones(world: World, clock: FakeClock) -> None:
    session = await running(world, spec=SessionSpec(snapshot_max_age=3600))
    await _stop(world, session, "0000000000001", 1)
    await world.snapshots.expire()
    assert [one.state for one in await world.rows(Snapshot)] == [SnapshotState.READY]
    clock.advance(seconds=3601)
    await world.snapshots.expire()
    assert [one.state for one in await world.rows(Snapshot)] == [SnapshotState.DELETING]


async def test_a_restore_first_saves_what_it_replaces(world: World) -> None:
    session, snapshot = await taken(world, "one")
    restored = await world.snapshots.restore(ALICE, "dev1", "one")
    assert restored.restore is not None
    assert (restored.restore.snapshot, restored.generation) == (snapshot.uid, session.generation + 1)
    assert restored.snapshot_orders == (SnapshotOrder(restored.restore.previous),)
    before = await world.row(Snapshot, restored.restore.previous)
    assert before is not None
    assert (before.cause, before.state) == (SnapshotCause.RESTORE, SnapshotState.CREATING)
    for uid, use in ((snapshot.id, "is being restored from it"), (before.id, "saves its present state in it")):
        with pytest.raises(WrongState, match=use):
            await world.snapshots.delete(ALICE, "dev1", uid)
    with pytest.raises(WrongState, match="is being restored already"):
        await world.snapshots.restore(ALICE, "dev1", "one")
    await report(
        world,
        session,
        SnapshotResult(before.uid, SnapshotState.READY),
        restore=RestoreResult(restored.restore.uid, RestoreState.DONE),
    )
    done = await world.sessions.get(ALICE, "dev1")
    assert done.restore is not None
    assert done.restore.state is RestoreState.DONE
    await world.snapshots.delete(ALICE, "dev1", "one")


async def test_a_watch_sends_the_list_then_every_change(world: World) -> None:
    session, snapshot = await taken(world, "one")
    async with aclosing(world.watch.snapshots(ALICE, "", "dev1", 0)) as events, asyncio.timeout(PATIENCE):
        assert [(await anext(events)).type for _ in range(2)] == ["PUT", "CAUGHT_UP"]
        await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(pinned=True))
        event = await anext(events)
        assert event.snapshot is not None
        assert (event.type, event.snapshot.pinned) == ("PUT", True)
        await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(pinned=False))
        await world.snapshots.delete(ALICE, "dev1", "one")
        await report(world, session, SnapshotResult(snapshot.uid, SnapshotState.DELETING))
        assert [(await anext(events)).type for _ in range(3)] == ["PUT", "PUT", "DELETED"]


async def test_an_offline_runner_takes_it_later(world: World) -> None:
    session = await running(world)
    await world.sessions.stop(ALICE, "dev1")
    await world.reported(session, SessionState.STOPPED)
    await world.runners.offline(session.runner)
    snapshot = await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one"))
    assert snapshot.message == "its runner lab1 is offline: it is taken when that returns"
    await world.runners.online(session.runner, TAKES)
    await ready(world, snapshot)
    assert (await world.snapshots.get(ALICE, "dev1", "one")).message == ""


async def test_the_session_or_else_the_server_says_on_how_many_runners_a_snapshot_should_be(world: World) -> None:
    world.snapshots = Snapshots(world.store, world.clock, world.new_uid, Limits(copies=3), world.copies)
    await running(world)
    assert (await world.snapshots.create(ALICE, "dev1", SnapshotDraft("servers"))).copies == 3
    assert (await world.snapshots.create(ALICE, "dev1", SnapshotDraft("asked", copies=1))).copies == 1
    spec = SessionSpec(image="debian:12", snapshot_policy=SnapshotPolicy(copies=2))
    other = await running(world, "dev2", spec)
    assert (await world.snapshots.create(ALICE, "dev2", SnapshotDraft("sessions"))).copies == 2
    await world.sessions.stop(ALICE, "dev2")
    await _stop(world, other, "s1", 1)
    (stop,) = [one for one in await world.rows(Snapshot) if one.cause is SnapshotCause.STOP]
    assert (stop.copies, stop.lacks) == (2, "copies")


async def _stop(world: World, session: Session, uid: str, number: int) -> None:
    row = await world.row(Session, session.uid)
    assert row is not None
    image = SnapshotImage(
        uid, row.uid, f"netvps-snapshot/vps-{row.uid}:{number}", "sha256:0", 9, 2, "lab1", 1, row.create_time
    )
    await world.runners.report(
        row.runner,
        SessionReport(
            row.uid,
            row.epoch,
            row.generation,
            SessionState.STOPPED,
            snapshot=image,
            snapshots=(SnapshotResult(uid, SnapshotState.READY, size_bytes=3),),
        ),
    )
