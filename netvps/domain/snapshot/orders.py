"""Orders about the files of a session: its snapshots, a restore in place, a clone; as pure functions of sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.session import DesiredState, SessionState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.names import SessionName
    from netvps.domain.session.session import Author, Session
    from netvps.domain.snapshot.snapshot import Restore, SnapshotOrder, SnapshotSource


def order_snapshot(session: Session, order: SnapshotOrder, now: datetime) -> Session:
    """The session with an order for its runner, in place of an earlier one for the same snapshot."""
    return replace(session, snapshot_orders=(*_other_orders(session, order.uid), order), update_time=now)


def finish_order(session: Session, snapshot_uid: str) -> Session:
    """The session without the order for a snapshot."""
    return replace(session, snapshot_orders=_other_orders(session, snapshot_uid))


def _other_orders(session: Session, snapshot_uid: str) -> tuple[SnapshotOrder, ...]:
    return tuple(order for order in session.snapshot_orders if order.uid != snapshot_uid)


def revert(session: Session, restore: Restore, now: datetime) -> Session:
    """The session with a restore in place to carry out, in a new generation. A paused one runs after that."""
    desired = DesiredState.RUNNING if session.desired is DesiredState.PAUSED else session.desired
    return replace(session, restore=restore, desired=desired, generation=session.generation + 1, update_time=now)


def clone(
    source: Session, uid: str, name: SessionName, *, snapshot: SnapshotSource, now: datetime, by: Author
) -> Session:
    """A session with the spec of another, to be made from a snapshot of it. It gets as many GPUs, but others."""
    spec = replace(source.spec, gpus=source.spec.gpu_count, gpu_ids=())
    return replace(
        new_session(uid, name, spec, now, by),
        source=snapshot,
        message=f"waiting for the snapshot {snapshot.name}",
    )


def fail_unplaced(session: Session, reason: str, message: str, now: datetime) -> Session:
    """The session FAILED before any runner had it."""
    return replace(
        session,
        state=SessionState.FAILED,
        observed_generation=session.generation,
        reason=reason,
        message=message,
        update_time=now,
    )
