"""Copies from the order to the receipt: netvps.services.copies.orders, too."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.runner.runner import CaughtUp, Runner
from netvps.domain.session.session import Session, SessionReport, SessionState
from netvps.domain.snapshot.copies import Copy, CopyOrder, CopyReport, CopyState
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotChange, SnapshotDraft
from netvps.errors import NotFound, WrongState
from netvps.services.sessions.assignments import follow
from tests.fakes.world import ALICE, HELLO, ROOT
from tests.services.snapshots.taking import ready, taken

if TYPE_CHECKING:
    from tests.fakes.world import World


async def _wanted(world: World, copies: int = 2) -> tuple[Snapshot, str, str]:
    """A snapshot of a session on lab1 that should be on lab2, too; and the uids of both."""
    first = await world.runner("lab1")
    second = await world.runner("lab2")
    async with world.store.write("test") as tx:
        await tx.put(replace(await tx.get(Runner, second.uid) or second, no_sessions=True))
    session, _ = await taken(world, "one")
    async with world.store.write("test") as tx:
        await tx.put(replace(await tx.get(Runner, second.uid) or second, no_sessions=False))
    assert session.runner == first.uid
    changed = await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(copies=copies))
    return changed, first.uid, second.uid


async def _held(world: World, snapshot: Snapshot, runner: str) -> None:
    await world.copies.report(runner, CopyReport(snapshot.session, snapshot.uid, CopyState.HELD))


async def _get(world: World) -> Snapshot:
    return await world.snapshots.get(ALICE, "dev1", "one")


async def test_a_copy_is_ordered_and_counts_from_its_receipt_on(world: World) -> None:
    snapshot, first, second = await _wanted(world)
    (copy,) = await world.rows(Copy)
    assert (copy.runner, copy.held, copy.drop) == (second, False, False)
    assert [holder.runner for holder in snapshot.holders] == [first]
    assert (await _get(world)).message == "copying to lab2: it is ordered"
    report = CopyReport(snapshot.session, snapshot.uid, CopyState.PENDING, done_bytes=1 << 20, total_bytes=2 << 20)
    before = await world.revision()
    await world.copies.report(second, report)
    assert (await _get(world)).message == "copying to lab2: 1.0 MiB of 2.0 MiB"
    assert await world.revision() == before  # progress is not in the log
    await _held(world, snapshot, second)
    done = await _get(world)
    assert ([holder.name for holder in done.usable], done.message, done.lacks) == (["lab1", "lab2"], "", "")
    revision = await world.revision()
    await _held(world, snapshot, second)
    assert await world.revision() == revision


async def test_a_runner_without_an_order_reports_and_reads_nothing(world: World) -> None:
    snapshot, first, second = await _wanted(world, 1)
    await _held(world, snapshot, second)
    assert [holder.runner for holder in (await _get(world)).holders] == [first]
    with pytest.raises(NotFound, match="this runner has no order to copy that snapshot"):
        await world.copies.sources(second, snapshot.session, snapshot.uid)
    snapshot = await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(copies=2))
    sources = await world.copies.sources(second, snapshot.session, snapshot.uid)
    assert [holder.name for holder in sources] == ["lab1"]
    with pytest.raises(NotFound):
        await world.copies.sources(second, "another", snapshot.uid)


async def test_more_copies_than_runners_are_refused(world: World) -> None:
    await _wanted(world, 1)
    with pytest.raises(WrongState, match="3 copies need as many runners, and 2 can hold one"):
        await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(copies=3))
    with pytest.raises(WrongState, match="cannot have that many copies"):
        await world.snapshots.create(ALICE, "dev1", SnapshotDraft("two", copies=3))


async def test_a_copy_is_ordered_once_a_runner_comes(world: World) -> None:
    first = await world.runner("lab1")
    await taken(world, "one")
    second = await world.runner("lab2")
    await world.runners.offline(second.uid)
    await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(copies=2))
    await world.copies.replenish()
    assert await world.rows(Copy) == []
    assert (await _get(world)).message == "1 more wait for a runner that is online and has room"
    await world.runners.online(second.uid, HELLO)
    await world.copies.replenish()
    assert [(copy.runner) for copy in await world.rows(Copy)] == [second.uid]
    assert first.uid != second.uid


async def test_fewer_copies_are_dropped_and_the_holder_is_gone_at_once(world: World) -> None:
    snapshot, _, second = await _wanted(world)
    await _held(world, snapshot, second)
    fewer = await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(copies=1))
    assert [holder.name for holder in fewer.holders] == ["lab1"]
    (copy,) = await world.rows(Copy)
    assert copy.drop
    await _held(world, snapshot, second)  # a late report
    assert [holder.name for holder in (await _get(world)).holders] == ["lab1"]
    await world.copies.report(second, CopyReport(snapshot.session, snapshot.uid, CopyState.GONE))
    assert await world.rows(Copy) == []


async def test_with_the_snapshot_and_with_the_session_copies_go(world: World) -> None:
    snapshot, _, second = await _wanted(world)
    await _held(world, snapshot, second)
    await world.snapshots.delete(ALICE, "dev1", "one")
    assert [copy.drop for copy in await world.rows(Copy)] == [True]
    again = await world.snapshots.create(ALICE, "dev1", SnapshotDraft("two", copies=2))
    await ready(world, again)
    await world.copies.replenish()
    await world.copies.report(second, CopyReport(snapshot.session, again.uid, CopyState.HELD))
    await world.sessions.delete(ALICE, "dev1")
    session = (await world.rows(Session))[0]
    gone = SessionReport(session.uid, session.epoch, session.generation, SessionState.DELETED)
    await world.runners.report(session.runner, gone)
    assert await world.rows(Session) == []
    assert [copy.drop for copy in await world.rows(Copy)] == [True, True]


async def test_damage_removes_a_source_and_is_said(world: World) -> None:
    snapshot, first, second = await _wanted(world)
    damage = CopyReport(snapshot.session, snapshot.uid, CopyState.PENDING, "damaged", damaged=first)
    await world.copies.report(second, damage)
    lost = await _get(world)
    assert (lost.state, lost.reason) == ("FAILED", "data_loss")
    assert lost.message.startswith("its files are damaged on lab1")
    await _held(world, snapshot, second)
    assert [copy.drop for copy in await world.rows(Copy)] == [True]


async def test_a_runner_that_finds_its_own_files_damaged_gets_those_of_another(world: World) -> None:
    """It looks where it needs them: for a start, not for a transfer."""
    snapshot, first, second = await _wanted(world)
    await _held(world, snapshot, second)
    confession = CopyReport(snapshot.session, snapshot.uid, CopyState.PENDING, "damaged", damaged=first)
    await world.copies.report(second, replace(confession, session="another"))
    assert [holder.runner for holder in (await _get(world)).usable] == [first, second]
    await world.copies.report(first, confession)  # it took the snapshot itself, so it has no order
    assert [holder.runner for holder in (await _get(world)).usable] == [second]
    assert [copy.held for copy in await world.rows(Copy) if copy.runner == first] == [False]
    assert [holder.runner for holder in await world.copies.sources(first, snapshot.session, snapshot.uid)] == [second]
    revision = await world.revision()
    await world.copies.report(first, confession)  # repeated by the next connection
    assert await world.revision() == revision
    await _held(world, snapshot, first)
    assert {holder.runner for holder in (await _get(world)).usable} == {first, second}
    lost = replace(confession, damaged=second, state=CopyState.HELD)  # one report, as it was fetched meanwhile
    await world.copies.report(second, lost)
    assert {holder.runner for holder in (await _get(world)).usable} == {first, second}


async def test_a_last_holder_that_finds_its_files_damaged_has_no_other_to_ask(world: World) -> None:
    snapshot, first, second = await _wanted(world, copies=1)
    other = CopyReport(snapshot.session, snapshot.uid, CopyState.PENDING, "damaged", damaged=first)
    await world.copies.report(second, other)  # neither ordered nor its own
    assert (await _get(world)).state == "READY"
    await world.copies.report(first, other)
    assert ((await _get(world)).reason, await world.rows(Copy)) == ("data_loss", [])


async def test_a_removed_runner_is_no_holder_any_more(world: World) -> None:
    snapshot, _, second = await _wanted(world)
    await _held(world, snapshot, second)
    await world.runners.remove(ROOT, "lab2")
    left = await _get(world)
    assert ([holder.name for holder in left.holders], left.lacks) == (["lab1"], "copies")
    assert await world.rows(Copy) == []


async def test_a_runner_gets_its_orders_before_it_has_caught_up_and_then_changes(world: World) -> None:
    snapshot, _, second = await _wanted(world)
    order = CopyOrder(snapshot.session, snapshot.uid)
    async with aclosing(follow(world.store, world.feed, second)) as orders:
        assert await anext(orders) == order
        assert isinstance(await anext(orders), CaughtUp)
        await _held(world, snapshot, second)  # is no change of the order
        await world.snapshots.update(ALICE, "dev1", "one", SnapshotChange(copies=1))
        assert await anext(orders) == replace(order, drop=True)


async def test_a_clone_is_placed_on_any_holder(world: World) -> None:
    snapshot, first, second = await _wanted(world)
    await world.runners.offline(first)
    clone = await world.clones.clone(ALICE, "dev1", session_id="dev2", snapshot_id="one")
    assert clone.runner == ""
    await _held(world, snapshot, second)
    row = await world.row(Session, clone.uid)
    assert row is not None
    assert row.runner_name == "lab2"
