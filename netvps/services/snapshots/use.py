"""Snapshots within a transaction: who uses one, its deletion, and what becomes of them with their session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.session.session import Session
from netvps.domain.snapshot.orders import order_snapshot
from netvps.domain.snapshot.retention import superfluous
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotOrder, SnapshotState
from netvps.errors import WrongState
from netvps.services.copies.orders import drop_copies

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.services.ports import Reader, Transaction


async def users_of(reader: Reader, session: Session, snapshots: list[Snapshot]) -> dict[str, str]:
    """What uses the snapshots of a session, in words, by uid of the snapshot."""
    uses = {}
    if restore := session.pending_restore:
        uses[restore.snapshot] = f"session {session.full_name} is being restored from it"
        uses[restore.previous] = f"a restore of session {session.full_name} saves its present state in it"
    uids = tuple(snapshot.uid for snapshot in snapshots)
    for clone in await reader.find(Session, awaits=uids) if uids else ():
        how = "is made from it on its new runner" if clone.arrival else "is being cloned from it"
        uses[clone.awaits] = f"session {clone.full_name} {how}"
    if session.moving and session.move and session.move.snapshot:
        uses[session.move.snapshot] = f"session {session.full_name} is being moved with it"
    return uses


async def snapshots_of(reader: Reader, session_uid: str) -> list[Snapshot]:
    """All snapshots of a session, by id."""
    return await reader.find(Snapshot, session=session_uid)


async def require_unused(reader: Reader, session: Session) -> None:
    """Raises WrongState if a session cannot be deleted, as that would delete a snapshot that is pinned or in use."""
    snapshots = await snapshots_of(reader, session.uid)
    pinned = [snapshot.id for snapshot in snapshots if snapshot.pinned]
    if pinned:
        several = f"{len(pinned)} pinned snapshots" if len(pinned) > 1 else "a pinned snapshot"
        named = ", ".join([*pinned[:3], *("…" for _ in pinned[3:4])])
        raise WrongState(
            f"session {session.full_name} has {several} ({named}), which its deletion would delete: first run "
            f"netvps snapshot unpin {session.full_name} {pinned[0]}",
            reason="SNAPSHOT_PINNED",
        )
    for clone in await reader.find(Session, awaits=tuple(one.uid for one in snapshots)) if snapshots else ():
        if clone.uid == session.uid:
            continue  # it has moved, and did not run since
        raise WrongState(
            f"session {clone.full_name} is being cloned from a snapshot of session {session.full_name}: wait until it "
            "runs, or remove it",
            reason="SNAPSHOT_IN_USE",
        )


async def delete_snapshot(tx: Transaction, session: Session, snapshot: Snapshot, now: datetime) -> Session:
    """Marks a snapshot as DELETING, with its copies; returns the session, not written yet, with its runner's order."""
    gone = replace(snapshot, state=SnapshotState.DELETING, message="", update_time=now)
    await tx.put(gone)
    await drop_copies(tx, snapshot)
    return order_snapshot(session, SnapshotOrder(snapshot.uid, delete=True), now)


async def rotate(tx: Transaction, session: Session, now: datetime) -> Session:
    """Marks what retention does not keep as DELETING; returns the session, not written yet."""
    snapshots = await snapshots_of(tx, session.uid)
    used = await users_of(tx, session, snapshots)
    for snapshot in superfluous(snapshots, session.spec, used.keys(), now):
        session = await delete_snapshot(tx, session, snapshot, now)
    return session


async def rename_snapshots(tx: Transaction, session: Session) -> None:
    """Gives the snapshots of a session its new name."""
    for snapshot in await snapshots_of(tx, session.uid):
        await tx.put(replace(snapshot, session_name=session.name))


async def remove_snapshots(tx: Transaction, session: Session) -> None:
    """Deletes the rows of a session's snapshots, whose files are gone from its runner; orders the same of copies."""
    for snapshot in await snapshots_of(tx, session.uid):
        await drop_copies(tx, snapshot)
        await tx.delete(snapshot)
