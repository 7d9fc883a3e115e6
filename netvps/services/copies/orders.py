"""Orders for copies of snapshots, within a transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.moves.eviction import Eviction
from netvps.domain.runner.runner import Runner, RunnerState
from netvps.domain.snapshot.copies import (
    Copy,
    damaged_at,
    next_holders,
    received,
    too_many,
    why_not_so_many,
    without_holder,
)
from netvps.domain.snapshot.snapshot import Holder, Snapshot, SnapshotState
from netvps.errors import WrongState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.snapshot.copies import CopyReport
    from netvps.services.ports import Reader, Transaction


async def copies_of(reader: Reader, snapshot: Snapshot) -> list[Copy]:
    """The orders for copies of a snapshot."""
    return await reader.find(Copy, snapshot=snapshot.uid)


async def require_runners(reader: Reader, snapshot: Snapshot, copies: int) -> None:
    """Raises WrongState if there are fewer runners than copies."""
    if copies > 1 and (why := why_not_so_many(snapshot, copies, await reader.find(Runner))):
        raise WrongState(f"snapshot {snapshot.full_name} cannot have that many copies: {why}", reason="TOO_FEW_RUNNERS")


async def order_copy(
    tx: Transaction, snapshot: Snapshot, runner: Runner, now: datetime, *, urgent: bool = False
) -> None:
    """Orders that a runner copies a snapshot; `urgent` where someone waits for that."""
    await tx.put(Copy(snapshot.uid, snapshot.session, runner.uid, runner.name, now, urgent=urgent))


async def replenish(tx: Transaction, snapshot: Snapshot, now: datetime) -> bool:
    """Orders the copies that a snapshot lacks, on runners that can take one now; returns whether there are any.

    A runner that the session has left gets none: it erases all that it has of the session, a new copy too.
    """
    left = {eviction.runner for eviction in await tx.find(Eviction, session=snapshot.session)}
    online = [runner for runner in await tx.find(Runner, state=RunnerState.ONLINE) if runner.uid not in left]
    chosen = next_holders(snapshot, await copies_of(tx, snapshot), online)
    for runner in chosen:
        await order_copy(tx, snapshot, runner, now)
    return bool(chosen)


async def reduce_copies(tx: Transaction, snapshot: Snapshot, now: datetime) -> Snapshot:
    """Orders that superfluous copies are dropped; returns the snapshot without those holders, not written yet."""
    for copy in too_many(snapshot, await copies_of(tx, snapshot)):
        snapshot = await drop_copy(tx, snapshot, copy, now)
    return snapshot


async def drop_copy(tx: Transaction, snapshot: Snapshot, copy: Copy, now: datetime) -> Snapshot:
    """Orders that a copy is dropped: it is no longer used. Returns the snapshot without it, not written yet."""
    await tx.put(replace(copy, drop=True, held=False))
    return without_holder(snapshot, copy.runner, now)


async def drop_copies(tx: Transaction, snapshot: Snapshot) -> None:
    """Orders that all copies of a snapshot that is being deleted are dropped."""
    for copy in await copies_of(tx, snapshot):
        if not copy.drop:
            await tx.put(replace(copy, drop=True, held=False))


async def forget_runner(tx: Transaction, runner: Runner, now: datetime) -> None:
    """Deletes the orders of a runner that is removed; the snapshots lose it as a holder."""
    for copy in await tx.find(Copy, runner=runner.uid):
        await tx.delete(copy)
        snapshot = await tx.get(Snapshot, copy.snapshot)
        left = snapshot and without_holder(snapshot, runner.uid, now)
        if left and left is not snapshot:
            await tx.put(left)


async def is_new_damage(reader: Reader, report: CopyReport) -> bool:
    """Whether a report names a holder that is not known to be damaged."""
    snapshot = await reader.get(Snapshot, report.snapshot)
    return snapshot is not None and report.damaged in {one.runner for one in snapshot.usable}


async def record_damage(tx: Transaction, report: CopyReport, reporter: str, now: datetime) -> None:
    """Records that the files of a snapshot are damaged on a runner, or gone.

    A runner that says so of itself needs them: it is ordered to copy those of another holder, if there is one.
    """
    snapshot = await tx.get(Snapshot, report.snapshot)
    if snapshot is None or snapshot.session != report.session:
        return
    holder = next((one for one in snapshot.usable if one.runner == report.damaged), None)
    if holder is None:
        return
    marked = await tx.put(damaged_at(snapshot, report.damaged, now))
    runner = await tx.get(Runner, reporter)
    own = report.damaged == reporter
    if own and runner is not None and marked.state is SnapshotState.READY and not holder.leaving:
        await order_copy(tx, marked, runner, now)


async def record(tx: Transaction, copy: Copy, report: CopyReport, now: datetime) -> bool:
    """Records a receipt or a removal; returns whether another runner holds the snapshot now."""
    snapshot = await tx.get(Snapshot, copy.snapshot)
    if report.state == "GONE" and copy.drop:
        await tx.delete(copy)
        return False
    if report.state != "HELD" or copy.drop or copy.held:
        return False
    if snapshot is None or snapshot.state is not SnapshotState.READY:
        await tx.put(replace(copy, drop=True))
        return False
    left = await tx.get(Eviction, f"{copy.session}.{copy.runner}")
    holder = Holder(copy.runner, copy.runner_name, leaving=left is not None and left.complete)
    await tx.put(replace(copy, held=True))
    await tx.put(received(snapshot, holder, now))
    return True
