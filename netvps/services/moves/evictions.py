"""Evictions: runners that sessions have left stop them, keep their files as long as needed, then erase them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.moves.eviction import Eviction, EvictionState
from netvps.domain.session.session import Session
from netvps.domain.snapshot.copies import Copy, leaving, without_holder
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.session.session import SessionReport
    from netvps.services.ports import Reader, Transaction


async def evict(tx: Transaction, before: Session, epoch: int, now: datetime, *, complete: bool) -> None:
    """Fences the runner of `before`, which the session leaves with this epoch.

    If it left with everything, what that runner holds is erased soon, so it no longer counts as a copy.
    """
    for snapshot in await tx.find(Snapshot, session=before.uid) if complete else ():
        left = leaving(snapshot, before.runner, now)
        if left is not snapshot:
            await tx.put(left)
    await tx.put(
        Eviction(
            session=before.uid,
            runner=before.runner,
            runner_name=before.runner_name,
            session_name=before.name,
            owner=before.owner,
            epoch=epoch,
            spec=before.spec,
            create_time=now,
            complete=complete,
        )
    )


async def release(tx: Transaction, eviction: Eviction, now: datetime) -> bool:
    """Lets a runner erase what it has of a session, if other runners hold all of it; returns whether they do."""
    snapshots = await tx.find(Snapshot, session=eviction.session)
    uids = tuple(snapshot.uid for snapshot in snapshots)
    clones = await tx.find(Session, awaits=uids) if uids else []
    if any(clone.runner == eviction.runner for clone in clones):
        return False  # it is being made from a snapshot there
    for snapshot in snapshots:
        if snapshot.state is SnapshotState.CREATING:
            return False
        if snapshot.state is SnapshotState.READY and {one.runner for one in snapshot.counted} <= {eviction.runner}:
            return False
    for snapshot in snapshots:
        left = without_holder(snapshot, eviction.runner, now)
        if left is not snapshot:
            await tx.put(left)
    await _let_go(tx, eviction)
    return True


async def release_all(tx: Transaction, session_uid: str) -> None:
    """Lets all runners that a deleted session has left erase what they have of it."""
    for eviction in await tx.find(Eviction, session=session_uid):
        if eviction.state is EvictionState.FENCED:
            await _let_go(tx, eviction)


async def _let_go(tx: Transaction, eviction: Eviction) -> None:
    for copy in await tx.find(Copy, session=eviction.session, runner=eviction.runner):
        await tx.delete(copy)  # erased with the rest
    await tx.put(replace(eviction, state=EvictionState.RELEASED))


async def is_erased(reader: Reader, runner_uid: str, report: SessionReport) -> Eviction | None:
    """The eviction that a report ends, as the runner has erased the session; None if there is none."""
    if report.state != "DELETED":
        return None
    eviction = await reader.get(Eviction, f"{report.session_uid}.{runner_uid}")
    released = eviction is not None and eviction.state is EvictionState.RELEASED
    return eviction if eviction and released and report.epoch == eviction.epoch else None


async def left_runners(reader: Reader, session_uid: str) -> frozenset[str]:
    """Uids of the runners that may still have something of a session which left them."""
    return frozenset(eviction.runner for eviction in await reader.find(Eviction, session=session_uid))
