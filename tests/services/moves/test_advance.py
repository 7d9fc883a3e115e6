"""The stages of a move, one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.moves.eviction import Eviction, EvictionState
from netvps.domain.session.lifecycle import assignment
from netvps.domain.session.session import SessionReport, SessionState, SnapshotImage
from netvps.domain.snapshot.copies import Copy
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotChange, SnapshotDraft, SnapshotResult, SnapshotState
from netvps.errors import Exhausted, WrongState
from tests.fakes.world import ALICE
from tests.services.snapshots.taking import report

if TYPE_CHECKING:
    from tests.fakes.world import World
    from tests.services.moves.cluster import Cluster


async def test_a_running_session_moves_with_all_that_it_has(cluster: Cluster, world: World) -> None:
    first, second = cluster.runners.values()
    kept = await world.snapshots.create(ALICE, "dev1", SnapshotDraft("kept", pinned=True))
    await cluster.take()
    before = await cluster.session()
    await world.moves.move(ALICE, "dev1")
    await cluster.step()
    stopping = await cluster.session()
    assert (stopping.desired, stopping.runner, await cluster.stage()) == ("STOPPED", first, "STOPPING")
    await cluster.step()
    assert await cluster.stage() == "STOPPING"
    await cluster.says(SessionState.STOPPED, "snapshot_pending")  # its image is not waited for
    await cluster.step()
    assert await cluster.stage() == "COPYING"
    await cluster.take()
    await cluster.step()
    copies = await world.rows(Copy)
    assert {copy.runner for copy in copies} == {second}
    assert {copy.snapshot for copy in copies} >= {kept.uid}
    assert len(copies) == 2
    assert all(copy.urgent for copy in copies)  # it is down meanwhile
    await cluster.step()
    assert (await cluster.session()).runner == first  # without receipts, nothing changes
    await cluster.receive()
    await cluster.step()
    moved = await cluster.session()
    assert (moved.runner, moved.epoch, moved.desired, await cluster.stage()) == (
        second,
        before.epoch + 1,
        "RUNNING",
        "ARRIVING",
    )
    assert moved.move is not None
    wanted = assignment(moved)
    assert wanted.source is not None
    assert (wanted.source.uid, wanted.source.session, wanted.snapshot) == (moved.move.snapshot, moved.uid, None)
    (eviction,) = await world.rows(Eviction)
    assert (eviction.runner, eviction.state, eviction.epoch) == (first, "FENCED", moved.epoch)
    await cluster.step()  # the files stay on the old runner until it runs on the new one
    assert (await world.rows(Eviction))[0].state is EvictionState.FENCED
    await cluster.says(SessionState.RUNNING)
    assert await cluster.stage() == "DONE"
    await cluster.step()
    assert (await world.rows(Eviction))[0].state is EvictionState.RELEASED
    for snapshot in await world.rows(Snapshot):
        assert [holder.runner for holder in snapshot.holders] == [second]
    await cluster.gone(first)
    assert await world.rows(Eviction) == []
    assert await world.rows(Copy) == []


async def test_a_stopped_session_moves_stopped_and_leaves_nothing_behind(cluster: Cluster, world: World) -> None:
    first, second = cluster.runners.values()
    await world.sessions.stop(ALICE, "dev1")
    await cluster.says(SessionState.STOPPED)
    await world.moves.move(ALICE, "dev1", target="lab2")
    await cluster.step()
    await cluster.take()
    await cluster.step()
    await cluster.receive()
    await cluster.step()
    moved = await cluster.session()
    assert (moved.runner, moved.desired, await cluster.stage()) == (second, "STOPPED", "ARRIVING")
    await cluster.says(SessionState.STOPPED)
    await cluster.step()
    assert (await world.rows(Eviction))[0].state is EvictionState.RELEASED
    with pytest.raises(WrongState, match="is made from it on its new runner"):
        await world.snapshots.delete(ALICE, "dev1", (await world.rows(Snapshot))[0].id)
    with pytest.raises(Exhausted, match="lab1: it was there before, and is not erased there yet"):
        await world.moves.move(ALICE, "dev1")
    await cluster.gone(first)
    await world.moves.move(ALICE, "dev1")  # back, though it did not run since
    await cluster.step()
    await cluster.receive()
    await cluster.step()
    assert (await cluster.session()).runner == first


async def _at_rest(cluster: Cluster, world: World) -> Snapshot:
    """The session is stopped, and the snapshot of that is READY."""
    await world.sessions.stop(ALICE, "dev1")
    row = await cluster.session()
    image = SnapshotImage("0" * 13, row.uid, "i", "d", 9, 2, "lab1", row.generation, row.create_time)
    stopped = SessionReport(row.uid, row.epoch, row.generation, SessionState.STOPPED, snapshot=image)
    ready = SnapshotResult(image.uid, SnapshotState.READY)
    await world.runners.report(row.runner, replace(stopped, snapshots=(ready,)))
    (snapshot,) = await world.rows(Snapshot)
    return snapshot


async def test_the_snapshot_of_its_stop_is_the_one_that_moves(cluster: Cluster, world: World) -> None:
    snapshot = await _at_rest(cluster, world)
    await world.moves.move(ALICE, "dev1", target="lab2")
    await cluster.step()
    with pytest.raises(WrongState, match="is being moved with it"):
        await world.snapshots.delete(ALICE, "dev1", snapshot.id)
    await cluster.receive()
    await cluster.step()
    moved = await cluster.session()
    assert (moved.runner_name, moved.awaits, await cluster.stage()) == ("lab2", snapshot.uid, "ARRIVING")
    assert [one.uid for one in await world.rows(Snapshot)] == [snapshot.uid]


async def test_a_holder_reads_its_copy_again_before_the_old_runner_erases_its_files(
    cluster: Cluster, world: World
) -> None:
    snapshot = await _at_rest(cluster, world)
    await world.snapshots.update(ALICE, "dev1", snapshot.id, SnapshotChange(copies=2))
    await cluster.receive()
    await world.moves.move(ALICE, "dev1", target="lab2")
    await cluster.step()
    await cluster.take()
    await cluster.step()
    assert (await cluster.session()).runner_name == "lab1"
    (ordered,) = [one for one in await world.rows(Copy) if not one.held]
    assert ordered.snapshot != snapshot.uid


async def test_one_that_is_started_while_it_moves_on_unrun_has_its_files(cluster: Cluster, world: World) -> None:
    first, _ = cluster.runners.values()
    await world.sessions.stop(ALICE, "dev1")
    await cluster.says(SessionState.STOPPED)
    await world.moves.move(ALICE, "dev1")
    await cluster.step()
    await cluster.take()
    await cluster.step()
    await cluster.receive()
    await cluster.step()
    await cluster.says(SessionState.STOPPED)
    await cluster.step()
    await cluster.gone(first)
    arrived = await cluster.session()
    await world.moves.move(ALICE, "dev1")
    await world.sessions.start(ALICE, "dev1")
    assert assignment(await cluster.session()).source == arrived.made_from
    await cluster.says(SessionState.RUNNING)
    await cluster.to_the_copies()
    taken = await cluster.session()
    assert taken.move is not None
    assert taken.move.snapshot != arrived.awaits  # it has written since
    await cluster.receive()
    await cluster.step()
    assert (await cluster.session()).awaits == taken.move.snapshot


async def test_without_a_snapshot_it_runs_on_where_it_is(cluster: Cluster, world: World) -> None:
    await world.moves.move(ALICE, "dev1")
    await cluster.step()
    await cluster.says(SessionState.STOPPED)
    await cluster.step()
    row = await cluster.session()
    (order,) = row.snapshot_orders
    await report(world, row, SnapshotResult(order.uid, SnapshotState.FAILED, "disk", "no room"))
    await cluster.step()
    stays = await cluster.session()
    assert (stays.desired, stays.runner_name, await cluster.stage()) == ("RUNNING", "lab1", "FAILED")
    assert stays.move is not None
    assert stays.move.message == "there is no snapshot of it: no room"


async def test_a_session_that_fails_does_not_move(cluster: Cluster, world: World) -> None:
    await world.moves.move(ALICE, "dev1")
    await cluster.step()
    await cluster.says(SessionState.FAILED, "container", "why")
    await cluster.step()
    assert (await cluster.stage(), (await cluster.session()).desired) == ("FAILED", "RUNNING")
