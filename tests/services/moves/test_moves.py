"""Requests for moves and drains: what moves, from where, and what is refused."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.moves.eviction import Eviction, EvictionState
from netvps.domain.moves.move import MoveStage
from netvps.domain.session.lifecycle import assignment
from netvps.domain.session.session import Assignment, DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.copies import Copy, CopyReport, CopyState
from netvps.domain.snapshot.snapshot import SnapshotChange, SnapshotDraft
from netvps.errors import Exhausted, NotFound, Unavailable, WrongState
from netvps.services.moves.moves import Moves
from netvps.services.sessions.assignments import follow
from netvps.tasks import Tasks
from tests.fakes.world import ALICE, BOB, HELLO, ON_OVERLAY, ROOT
from tests.services.moves.cluster import Cluster
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.world import World


async def test_its_owner_starts_stops_and_deletes_it_meanwhile(cluster: Cluster, world: World) -> None:
    await world.moves.move(ALICE, "dev1")
    await cluster.step()
    await world.sessions.start(ALICE, "dev1")
    await cluster.step()
    assert await cluster.stage() == "FAILED"
    await cluster.says(SessionState.RUNNING)
    await world.moves.move(ALICE, "dev1")
    await cluster.to_the_copies()
    await world.sessions.stop(ALICE, "dev1")
    await cluster.receive()
    await cluster.step()
    moved = await cluster.session()
    assert (moved.runner_name, moved.desired) == ("lab2", "STOPPED")  # it does not run again there
    await world.sessions.delete(ALICE, "dev1")
    await cluster.says(SessionState.DELETED)
    assert await world.rows(Session) == []
    assert [one.state for one in await world.rows(Eviction)] == ["RELEASED"]


async def test_from_a_runner_that_is_gone_it_goes_on_from_its_newest_copy(cluster: Cluster, world: World) -> None:
    first, second = cluster.runners.values()
    await world.snapshots.create(ALICE, "dev1", SnapshotDraft("older", copies=2))
    await cluster.take()
    await world.copies.replenish()
    await cluster.receive()
    older = await world.snapshots.get(ALICE, "dev1", "older")
    await world.snapshots.create(ALICE, "dev1", SnapshotDraft("newer"))  # is only on the runner that is lost
    await cluster.take()
    with pytest.raises(WrongState, match="is online: move it without --from-copy"):
        await world.moves.move(ALICE, "dev1", from_copy=True)
    await world.runners.offline(first)
    with pytest.raises(Unavailable, match=r"netvps move dev1\.alice --from-copy"):
        await world.moves.move(ALICE, "dev1")
    before = await cluster.session()
    await world.moves.move(ALICE, "dev1", from_copy=True)
    moved = await cluster.session()
    assert (moved.runner, moved.epoch, moved.desired) == (second, before.epoch + 1, "RUNNING")
    assert moved.awaits == older.uid
    await cluster.says(SessionState.RUNNING)
    await cluster.step()
    (eviction,) = await world.rows(Eviction)
    assert (eviction.state, eviction.complete) == ("FENCED", False)  # it may have newer files
    await world.runners.online(first, HELLO)
    async with aclosing(follow(world.store, world.feed, first)) as orders:
        fence = await anext(orders)
        assert isinstance(fence, Assignment)
        assert (fence.desired, fence.epoch) == (DesiredState.STOPPED, moved.epoch)
    await cluster.step()
    assert (await world.rows(Eviction))[0].state is EvictionState.FENCED


async def test_without_a_copy_it_waits_for_its_runner(cluster: Cluster, world: World) -> None:
    await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one"))
    await cluster.take()
    await world.runners.offline(cluster.runners["lab1"])
    with pytest.raises(WrongState, match="no runner that is online has a verified copy of it; its files are on lab1"):
        await world.moves.move(ALICE, "dev1", from_copy=True)
    assert (await cluster.session()).runner == cluster.runners["lab1"]


async def test_a_damaged_copy_is_not_gone_on_from(cluster: Cluster, world: World) -> None:
    first, second = cluster.runners.values()
    await world.snapshots.create(ALICE, "dev1", SnapshotDraft("one", copies=2))
    await cluster.take()
    await world.copies.replenish()
    await cluster.receive()
    third = (await world.runner("lab3")).uid
    await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(copies=3))
    snapshot = await world.snapshots.get(ALICE, "dev1", "one")
    damage = CopyReport(snapshot.session, snapshot.uid, CopyState.PENDING, "damaged", damaged=second)
    await world.copies.report(third, damage)
    await world.runners.offline(first)
    with pytest.raises(WrongState, match="cannot go on elsewhere"):
        await world.moves.move(ALICE, "dev1", from_copy=True)


async def test_what_cannot_move_says_why(cluster: Cluster, world: World) -> None:
    with pytest.raises(NotFound):
        await world.moves.move(BOB, "dev1.alice")
    with pytest.raises(WrongState, match="is on runner lab1 already"):
        await world.moves.move(ALICE, "dev1", target="lab1")
    with pytest.raises(NotFound, match="no runner lab9"):
        await world.moves.move(ALICE, "dev1", target="lab9")
    await world.runners.offline(cluster.runners["lab2"])
    with pytest.raises(Exhausted, match=r"no other runner can take it \(lab2: offline\)"):
        await world.moves.move(ALICE, "dev1")
    await world.runners.online(cluster.runners["lab2"], replace(HELLO, capabilities=("snapshots",)))
    with pytest.raises(WrongState, match="runner lab2 takes no moved sessions"):
        await world.moves.move(ALICE, "dev1", target="lab2")
    await world.runners.online(cluster.runners["lab2"], HELLO)
    await world.moves.move(ALICE, "dev1")
    with pytest.raises(WrongState, match="is being moved already, to lab2"):
        await world.moves.move(ALICE, "dev1")


@pytest.mark.usefixtures("cluster")
async def test_the_same_request_moves_it_once(world: World) -> None:
    first = await world.moves.move(ALICE, "dev1", request_id="r")
    assert await world.moves.move(ALICE, "dev1", request_id="r") == first


async def test_a_drain_moves_two_at_a_time_and_says_who_stays(cluster: Cluster, world: World) -> None:
    first, second = cluster.runners.values()
    await world.runners.offline(second)
    others = [await world.session(f"dev{number}") for number in (2, 3)]
    for other in others:
        await world.reported(other, SessionState.RUNNING)
    assert len(await world.moves.drain(ROOT, "lab1")) == 3
    await cluster.step()
    waiting = await world.moves.latest(ROOT, runner="lab1")
    assert [one.move.message for one in waiting if one.move] == ["no other runner can take it (lab2: offline)"] * 3
    assert {one.desired for one in await world.rows(Session)} == {DesiredState.RUNNING}
    await world.runners.online(second, HELLO)
    new = await world.session("dev4")
    assert new.runner == second  # the drained one gets no new ones
    await cluster.step()
    await cluster.step()
    stages = [one.move.stage for one in await world.rows(Session) if one.move]
    assert sorted(stages) == [MoveStage.STOPPING, MoveStage.STOPPING, MoveStage.WAITING]
    await world.moves.uncordon(ROOT, "lab1")
    await cluster.step()
    stages = [one.move.stage for one in await world.rows(Session) if one.move]
    assert sorted(stages) == [MoveStage.FAILED, MoveStage.STOPPING, MoveStage.STOPPING]
    assert first != second


async def test_a_drain_with_nowhere_to_go_says_what_is_missing_where(cluster: Cluster, world: World) -> None:
    big = await world.session("big", spec=SessionSpec(memory_bytes=1 << 30))
    await world.reported(big, SessionState.RUNNING)
    (other,) = cluster.runners.keys() - {big.runner_name}
    small = replace(HELLO.capacity, memory_bytes=1 << 29)
    await world.runners.online(cluster.runners[other], replace(HELLO, capacity=small))
    await world.moves.drain(ROOT, big.runner_name)
    await cluster.step()
    row = await world.row(Session, big.uid)
    assert row is not None
    assert row.move is not None
    missing = "1 GiB of memory are more than the 0.5 GiB of its runner"
    assert row.move.message == f"no other runner can take it ({other}: {missing} {other})"
    assert (row.state, row.desired) == ("RUNNING", "RUNNING")


async def test_a_moved_session_keeps_its_address(world: World) -> None:
    cluster = Cluster(world)
    await cluster.begin(ON_OVERLAY)
    before = await cluster.session()
    await world.moves.move(ALICE, "dev1")
    await cluster.to_the_copies()
    await cluster.receive()
    await cluster.step()
    after = await cluster.session()
    assert (before.overlay_address, before.local_address) == ("10.128.0.2", "")
    assert (after.overlay_address, after.local_address) == ("10.128.0.2", "10.128.4.2")
    assert (assignment(after).address, assignment(after).local_address) == ("10.128.0.2", "10.128.4.2")
    await cluster.says(SessionState.RUNNING)
    done = (await cluster.session()).move
    assert done is not None
    assert (done.stage, done.message) == (MoveStage.DONE, "")


async def test_it_goes_on_when_something_happens_and_waits_for_no_clock(cluster: Cluster, world: World) -> None:
    moves = Moves(world.store, world.clock, world.new_uid, world.copies, interval=3600)

    async def until(holds: Callable[[], Awaitable[bool]]) -> None:
        while True:
            async with world.store.read() as reader:
                revision = reader.revision
            if await holds():
                return
            await world.store.wait(revision)

    async def comes_to(stage: MoveStage) -> None:
        async def is_there() -> bool:
            return await cluster.stage() == stage

        await until(is_there)

    async def is_copied() -> bool:
        return bool(await world.rows(Copy))

    async with asyncio.timeout(PATIENCE), Tasks() as tasks:
        tasks.start(world.feed.run(), name="feed")
        tasks.start(moves.run(world.feed), name="moves")
        await world.moves.move(ALICE, "dev1")
        await comes_to(MoveStage.STOPPING)
        await cluster.says(SessionState.STOPPED, "snapshot_pending")
        await comes_to(MoveStage.COPYING)
        await cluster.take()
        await until(is_copied)
        await cluster.receive()
        await comes_to(MoveStage.ARRIVING)
