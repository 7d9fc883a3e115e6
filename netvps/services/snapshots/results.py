"""Records what a runner reports about the snapshots of a session, within the transaction of the report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.domain.moves.steps import arrived
from netvps.domain.session.session import Session, SessionState
from netvps.domain.snapshot.orders import finish_order
from netvps.domain.snapshot.snapshot import (
    Holder,
    Snapshot,
    SnapshotCause,
    SnapshotState,
    failed,
    free_id,
    ready,
)
from netvps.services.sessions.scheduler import place_waiting
from netvps.services.snapshots.use import rotate, snapshots_of

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.session.session import SessionReport
    from netvps.domain.snapshot.snapshot import SnapshotOrder, SnapshotResult
    from netvps.services.ports import Transaction

_RAN: Final = frozenset({SessionState.RUNNING, SessionState.PAUSED})


def has_results(session: Session, report: SessionReport) -> bool:
    """Whether a report contains a result that is not recorded yet."""
    if (report.session_uid, report.epoch) != (session.uid, session.epoch):
        return False
    ordered = {order.uid for order in session.snapshot_orders}
    restore = session.pending_restore
    return (
        any(result.uid in ordered for result in report.snapshots)
        or bool(restore and report.restore and report.restore.uid == restore.uid)
        or bool(session.awaits and report.state in _RAN)
    )


async def record_results(
    tx: Transaction, before: Session, session: Session, report: SessionReport, now: datetime, *, copies: int
) -> Session:
    """Records the results; returns the session, not written yet, without the orders that are done.

    `session` is `before` after the rest of the report; `copies` is the default number of copies of a snapshot. Older
    snapshots are rotated, and waiting clones are placed.
    """
    if (report.session_uid, report.epoch) != (before.uid, before.epoch):
        return session
    orders = {order.uid: order for order in session.snapshot_orders}
    taken = False
    for result in report.snapshots:
        order = orders.get(result.uid)
        if order is not None and _answers(order, result):
            session = finish_order(session, result.uid)
            taken |= await _record(tx, session, result, now)
        elif order is None and _is_new_stop(before, session, report, result):
            await tx.put(await _stopped(tx, session, result, now, copies))
            taken = True
    restore = session.pending_restore
    if restore and report.restore and report.restore.uid == restore.uid:
        done = replace(restore, state=report.restore.state, message=report.restore.message)
        session = replace(session, restore=done, update_time=now)
    if session.source and not session.source.consumed and report.state in _RAN:
        session = replace(session, source=replace(session.source, consumed=True), update_time=now)
    if report.state in _RAN:
        session = arrived(session, now)
    return await rotate(tx, session, now) if taken else session


def _answers(order: SnapshotOrder, result: SnapshotResult) -> bool:
    return order.delete is (result.state is SnapshotState.DELETING)


async def _record(tx: Transaction, session: Session, result: SnapshotResult, now: datetime) -> bool:
    """Writes the snapshot of a result; returns whether there is another READY one."""
    snapshot = await tx.get(Snapshot, result.uid)
    if snapshot is None:
        return False
    if result.state is SnapshotState.DELETING:
        await tx.delete(snapshot)
        return False
    if result.state is SnapshotState.READY:
        await tx.put(ready(snapshot, result, _holder(session), now))
    else:
        await tx.put(failed(snapshot, result, now))
    if await tx.find(Session, awaits=snapshot.uid):
        await place_waiting(tx, now)
    return result.state is SnapshotState.READY


def _is_new_stop(before: Session, session: Session, report: SessionReport, result: SnapshotResult) -> bool:
    """Whether a result is the snapshot of a stop whose image was recorded just now."""
    image = report.snapshot
    return (
        image is not None
        and image.uid == result.uid
        and result.state is SnapshotState.READY
        and session.snapshot == image
        and before.snapshot != image
    )


async def _stopped(tx: Transaction, session: Session, result: SnapshotResult, now: datetime, copies: int) -> Snapshot:
    known = {snapshot.id for snapshot in await snapshots_of(tx, session.uid)}
    snapshot = Snapshot(
        uid=result.uid,
        session=session.uid,
        session_name=session.name,
        owner=session.owner,
        id=free_id(known, now),
        cause=SnapshotCause.STOP,
        create_time=now,
        update_time=now,
        copies=session.spec.snapshot_policy.copies or copies,
    )
    return ready(snapshot, result, _holder(session), now)


def _holder(session: Session) -> Holder:
    return Holder(session.runner, session.runner_name)
