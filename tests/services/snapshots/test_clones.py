from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.runner.runner import Capacity
from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.copies import CopyReport, CopyState
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotCause, SnapshotDraft, SnapshotResult, SnapshotState
from netvps.errors import AlreadyExists, NotFound, WrongState
from tests.fakes.world import ALICE, HELLO
from tests.services.snapshots.taking import ready, report, running, taken

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_a_clone_of_a_snapshot_is_placed_where_the_snapshot_is(world: World) -> None:
    session, snapshot = await taken(world, "one")
    await world.runner("lab2")
    made = await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="one", request_id="r")
    assert (made.full_name, made.runner, made.spec) == (made.full_name, session.runner, session.spec)
    assert made.source is not None
    assert (made.source.uid, made.source.session, made.source.name) == (
        snapshot.uid,
        session.uid,
        "dev1.alice/one",
    )
    assert await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="one", request_id="r") == made
    with pytest.raises(AlreadyExists):
        await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="one")


async def test_the_present_state_becomes_a_snapshot_and_the_clone_waits_for_it(world: World) -> None:
    await running(world, spec=SessionSpec(cpus=2))
    made = await world.clones.clone(ALICE, "dev1", session_id="dev2")
    assert (made.runner, made.state, made.spec.cpus) == ("", SessionState.PENDING, 2)
    assert made.message.startswith("waiting for the snapshot dev1.alice/")
    (snapshot,) = await world.rows(Snapshot)
    assert snapshot.cause is SnapshotCause.CLONE
    await ready(world, snapshot)
    placed = await world.row(Session, made.uid)
    assert placed is not None
    assert placed.runner_name == "lab1"


async def test_a_clone_is_never_placed_on_another_architecture(world: World) -> None:
    one = await world.runner("lab1", hello=replace(HELLO, capacity=replace(HELLO.capacity, architecture="amd64")))
    await running(world)
    arm = replace(HELLO, capacity=Capacity(1000, 1 << 50, 1 << 50, architecture="arm64"))
    two = await world.runner("lab2", hello=arm)
    snapshot = await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one", copies=2))
    await ready(world, snapshot)
    await world.copies.replenish()
    await world.copies.report(two.uid, CopyReport(snapshot.session, snapshot.uid, CopyState.HELD))
    made = await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="one")
    assert made.runner == one.uid  # though the other one holds it, and is larger
    await world.runners.offline(one.uid)
    waits = await world.clones.clone(ALICE, "dev1", session_id="dev3", snapshot_id="one")
    assert waits.runner == ""
    assert "dev1.alice/one is of amd64, and the runners that are online and hold it are arm64" in waits.message
    with pytest.raises(WrongState, match="no runner that is online has a verified copy of it"):
        await world.moves.move(ALICE, "dev1", from_copy=True)


async def test_the_source_is_in_use_until_the_clone_runs(world: World) -> None:
    await taken(world, "one")
    made = await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="one")
    with pytest.raises(WrongState, match=r"session dev2\.alice is being cloned from it"):
        await world.snapshots.delete(ALICE, "dev1", "one")
    with pytest.raises(WrongState, match=r"session dev2\.alice is being cloned from a snapshot"):
        await world.sessions.delete(ALICE, "dev1")
    await world.reported(made, SessionState.RUNNING)
    await world.snapshots.delete(ALICE, "dev1", "one")
    await world.sessions.delete(ALICE, "dev1")


async def test_a_clone_fails_with_its_snapshot_and_can_be_removed(world: World) -> None:
    session = await running(world)
    made = await world.clones.clone(ALICE, "dev1", session_id="dev2")
    (snapshot,) = await world.rows(Snapshot)
    await report(world, session, SnapshotResult(snapshot.uid, SnapshotState.FAILED, "disk", "the disk is full"))
    failed = await world.row(Session, made.uid)
    assert failed is not None
    assert (failed.state, failed.reason) == (SessionState.FAILED, "snapshot")
    assert "failed: the disk is full; remove it and clone again" in failed.message
    await world.sessions.start(ALICE, "dev2")  # fails again, at once
    assert (await world.sessions.get(ALICE, "dev2")).state is SessionState.FAILED
    await world.sessions.delete(ALICE, "dev2")
    assert await world.row(Session, made.uid) is None


async def test_a_failed_session_is_cloned_from_its_newest_snapshot_on_request(world: World) -> None:
    session, snapshot = await taken(world, "one")
    await world.reported(session, SessionState.FAILED)
    hint = "or clone its newest snapshot: netvps clone dev1.alice dev2 --snapshot one"
    with pytest.raises(WrongState, match=f"dev1.alice is FAILED: a snapshot is taken of a RUNNING.*; {hint}"):
        await world.clones.clone(ALICE, "dev1", session_id="dev2")
    assert [one.name for one in await world.rows(Session)] == ["dev1"]
    made = await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="one")
    assert (made.runner, made.awaits) == (session.runner, snapshot.uid)


async def test_only_what_has_files_can_be_cloned(world: World) -> None:
    await world.session("dev0")
    with pytest.raises(WrongState, match="has no files yet"):
        await world.clones.clone(ALICE, "dev0", session_id="dev2")
    await running(world)
    with pytest.raises(NotFound, match=r"session dev1\.alice has no snapshot one"):
        await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="one")
    await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one"))
    with pytest.raises(WrongState, match="is CREATING, not READY"):
        await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="one")
    await world.sessions.delete(ALICE, "dev1")
    with pytest.raises(WrongState, match="is being deleted"):
        await world.clones.clone(ALICE, "dev1", session_id="dev2")
