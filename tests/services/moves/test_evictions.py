"""Orders to the runner that a session left, and its reports."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from netvps.domain.moves.eviction import Eviction, EvictionState
from netvps.domain.runner.runner import CaughtUp
from netvps.domain.session.session import Assignment, Session, SessionReport, SessionState
from netvps.domain.snapshot.copies import Copy
from netvps.domain.snapshot.snapshot import SnapshotChange, SnapshotDraft
from netvps.services.sessions.assignments import follow
from tests.fakes.world import ALICE, ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World
    from tests.services.moves.cluster import Cluster


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


async def test_what_is_about_to_be_erased_is_read_but_not_counted(cluster: Cluster, world: World) -> None:
    """The runner that a session left with everything erases its files: `stop --copies 2` may not count on them."""
    first, second = cluster.runners.values()
    third = (await world.runner("lab3")).uid
    await world.snapshots.create(ALICE, "dev1", SnapshotDraft("kept"))
    await cluster.take()
    await world.moves.move(ALICE, "dev1", target="lab2")
    await cluster.to_the_copies()
    await cluster.receive()
    await cluster.step()
    kept = await world.snapshots.update(ALICE, "dev1", "kept", SnapshotChange(copies=2))
    assert ([one.runner for one in kept.counted], kept.lacks) == ([second], "copies")
    assert {one.runner for one in await world.copies.sources(third, kept.session, kept.uid)} == {first, second}
    await cluster.receive()
    kept = await world.snapshots.get(ALICE, "dev1", "kept")
    assert (sorted(one.name for one in kept.counted), kept.lacks) == (["lab2", "lab3"], "")


async def test_no_clone_is_made_where_its_snapshot_is_about_to_be_erased(cluster: Cluster, world: World) -> None:
    await world.snapshots.create(ALICE, "dev1", SnapshotDraft("kept"))
    await cluster.take()
    await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="kept")
    (clone,) = [one for one in await world.rows(Session) if one.name == "dev2"]
    assert clone.runner_name == "lab1"
    await world.moves.move(ALICE, "dev1")
    await cluster.to_the_copies()
    await cluster.receive()
    await cluster.step()
    await cluster.says(SessionState.RUNNING)
    await cluster.step()
    assert [one.state for one in await world.rows(Eviction)] == ["FENCED"]  # the clone is made from it there
    await world.clones.clone(ALICE, "dev1", session_id="dev3", snapshot_id="kept")
    (later,) = [one for one in await world.rows(Session) if one.name == "dev3"]
    assert later.runner_name == "lab2"
    await world.reported(clone, SessionState.RUNNING)
    await cluster.step()
    assert [one.state for one in await world.rows(Eviction)] == ["RELEASED"]


async def test_a_removed_runner_is_not_waited_for(cluster: Cluster, world: World) -> None:
    await world.moves.move(ALICE, "dev1")
    await cluster.to_the_copies()
    await cluster.receive()
    await cluster.step()
    await world.runners.remove(ROOT, "lab1")
    assert await world.rows(Eviction) == []
    assert all(one.runner_name == "lab2" for one in await world.rows(Session))
