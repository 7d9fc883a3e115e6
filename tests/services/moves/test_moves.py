"""Moves from the request to the release of the old runner: netvps.services.moves.advance and
netvps.services.moves.evictions, too.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.moves.eviction import Eviction, EvictionState
from netvps.domain.moves.move import MoveStage
from netvps.domain.runner.runner import CaughtUp
from netvps.domain.session.lifecycle import assignment
from netvps.domain.session.session import Assignment, DesiredState, Session, SessionReport, SessionState
from netvps.domain.snapshot.copies import Copy, CopyReport, CopyState
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotChange, SnapshotDraft, SnapshotResult, SnapshotState
from netvps.errors import Exhausted, NotFound, NotPermitted, Unavailable, WrongState
from netvps.services.sessions.assignments import follow
from tests.fakes.world import ALICE, BOB, HELLO, ON_OVERLAY, ROOT
from tests.services.snapshots.taking import report

if TYPE_CHECKING:
    from netvps.domain.runner.runner import RunnerHello
    from tests.fakes.world import World


class Cluster:
    """Runners lab1 and lab2, and a session of Alice's that runs on lab1; runners do what they are asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.uid = ""
        self.runners: dict[str, str] = {}

    async def begin(self, hello: RunnerHello = HELLO) -> None:
        self.runners["lab1"] = (await self.world.runner("lab1", hello=hello)).uid
        self.uid = (await self.world.session("dev1")).uid
        await self.says(SessionState.RUNNING)
        self.runners["lab2"] = (await self.world.runner("lab2", hello=hello)).uid

    async def session(self) -> Session:
        row = await self.world.row(Session, self.uid)
        assert row is not None
        return row

    async def stage(self) -> str:
        move = (await self.session()).move
        assert move is not None
        return move.stage

    async def says(self, state: SessionState, reason: str = "", message: str = "") -> None:
        """Its runner reports that its present generation is in this state."""
        row = await self.session()
        result = SessionReport(row.uid, row.epoch, row.generation, state, reason, message)
        await self.world.runners.report(row.runner, result)

    async def step(self) -> None:
        await self.world.moves.advance_all()
        await self.world.moves.release_all()

    async def take(self) -> None:
        """Its runner takes the snapshots that it was ordered to take."""
        row = await self.session()
        ready = [SnapshotResult(one.uid, SnapshotState.READY) for one in row.snapshot_orders if not one.delete]
        await report(self.world, row, *ready)

    async def receive(self) -> None:
        """All runners report receipts for what they were ordered to copy."""
        for copy in await self.world.rows(Copy):
            if not copy.held:
                receipt = CopyReport(copy.session, copy.snapshot, CopyState.HELD)
                await self.world.copies.report(copy.runner, receipt)

    async def to_the_copies(self) -> None:
        await self.step()
        await self.says(SessionState.STOPPED)
        await self.step()
        await self.take()
        await self.step()

    async def gone(self, runner: str) -> None:
        """That runner reports that it has erased the session."""
        eviction = await self.world.row(Eviction, f"{self.uid}.{runner}")
        assert eviction is not None
        await self.world.runners.report(runner, SessionReport(self.uid, eviction.epoch, 2, SessionState.DELETED))


@pytest.fixture
async def cluster(world: World) -> Cluster:
    made = Cluster(world)
    await made.begin()
    return made


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
    await cluster.says(SessionState.STOPPED, "snapshot_pending")
    await cluster.step()
    assert await cluster.stage() == "STOPPING"
    await cluster.says(SessionState.STOPPED)
    await cluster.step()
    assert await cluster.stage() == "COPYING"
    await cluster.take()
    await cluster.step()
    copies = await world.rows(Copy)
    assert {copy.runner for copy in copies} == {second}
    assert {copy.snapshot for copy in copies} >= {kept.uid}
    assert len(copies) == 2
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


async def test_the_old_runner_is_asked_to_stop_it_then_to_erase_it(cluster: Cluster, world: World) -> None:
    first = cluster.runners["lab1"]
    await world.moves.move(ALICE, "dev1")
    await cluster.to_the_copies()
    await cluster.receive()
    epoch = (await cluster.session()).epoch
    async with aclosing(follow(world.store, world.feed, first)) as orders:
        mine = await anext(orders)
        assert isinstance(mine, Assignment)
        assert isinstance(await anext(orders), CaughtUp)
        await cluster.step()
        seen = [await anext(orders) for _ in range(2)]  # the change, then the list, from which the session is gone
        assert isinstance(seen[-1], Assignment)
        assert {(one.desired, one.epoch) for one in seen if isinstance(one, Assignment)} == {("STOPPED", epoch + 1)}
        assert (epoch + 1, 1) > (mine.epoch, mine.generation) or mine.epoch < epoch + 1
        assert isinstance(await anext(orders), CaughtUp)
        await cluster.says(SessionState.RUNNING)
        await cluster.step()
        last = await anext(orders)
        assert isinstance(last, Assignment)
        assert (last.desired, last.generation) == ("DELETED", 2)


async def test_reports_of_the_old_runner_change_nothing(cluster: Cluster, world: World) -> None:
    first = cluster.runners["lab1"]
    await world.moves.move(ALICE, "dev1")
    await cluster.to_the_copies()
    await cluster.receive()
    await cluster.step()
    moved = await cluster.session()
    for epoch in (moved.epoch - 1, moved.epoch):
        await world.runners.report(first, SessionReport(moved.uid, epoch, moved.generation, SessionState.RUNNING))
        await world.runners.report(first, SessionReport(moved.uid, epoch, moved.generation, SessionState.DELETED))
    assert await cluster.session() == moved
    assert len(await world.rows(Eviction)) == 1  # it is not released, so it is not gone


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


@pytest.mark.parametrize(("reason", "state"), [("snapshot_failed", "STOPPED"), ("container", "FAILED")])
async def test_a_stop_that_saves_nothing_ends_the_move(cluster: Cluster, world: World, reason: str, state: str) -> None:
    await world.moves.move(ALICE, "dev1")
    await cluster.step()
    await cluster.says(SessionState(state), reason, "why")
    await cluster.step()
    assert (await cluster.stage(), (await cluster.session()).desired) == ("FAILED", "RUNNING")


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


async def test_the_runner_that_it_left_gets_no_copy_before_it_has_erased_the_session(
    cluster: Cluster, world: World
) -> None:
    """It erases all that it has of the session: a copy that it received meanwhile, too."""
    first = cluster.runners["lab1"]
    await world.snapshots.create(ALICE, "dev1", SnapshotDraft("kept", copies=2))
    await cluster.take()
    await world.copies.replenish()
    await cluster.receive()
    await world.moves.move(ALICE, "dev1")
    await cluster.to_the_copies()
    await cluster.receive()
    await cluster.step()
    await cluster.says(SessionState.RUNNING)
    await cluster.step()
    (eviction,) = await world.rows(Eviction)
    assert eviction.state is EvictionState.RELEASED
    assert (await world.snapshots.get(ALICE, "dev1", "kept")).lacks
    await world.copies.replenish()
    assert [copy for copy in await world.rows(Copy) if copy.runner == first] == []
    erased = SessionReport(cluster.uid, eviction.epoch, 2, SessionState.DELETED, "", "")
    await world.runners.report(first, erased)
    assert await world.rows(Eviction) == []
    await world.copies.replenish()
    assert [copy.runner_name for copy in await world.rows(Copy) if copy.runner == first] == ["lab1"]


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
    with pytest.raises(NotPermitted):
        await world.moves.drain(ALICE, "lab1")
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


async def test_a_moved_session_has_an_address_where_it_is(world: World) -> None:
    cluster = Cluster(world)
    await cluster.begin(ON_OVERLAY)
    before = (await cluster.session()).overlay_address
    await world.moves.move(ALICE, "dev1")
    await cluster.to_the_copies()
    await cluster.receive()
    await cluster.step()
    after = (await cluster.session()).overlay_address
    assert before
    assert after
    assert before != after


async def test_a_removed_runner_is_not_waited_for(cluster: Cluster, world: World) -> None:
    await world.moves.move(ALICE, "dev1")
    await cluster.to_the_copies()
    await cluster.receive()
    await cluster.step()
    await world.runners.remove(ROOT, "lab1")
    assert await world.rows(Eviction) == []
    assert all(one.runner_name == "lab2" for one in await world.rows(Session))
