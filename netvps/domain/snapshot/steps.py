"""The actions on snapshots, and which of the orders in an assignment are due; as pure functions of what is inspected.

order                      take → (reported READY)                 delete: drop → (reported)
order, stopped and copied  take → (reported READY), before the engine ends and commits the container
restore in place           terminate → take (the present state) → revert → (reported DONE) → start, if it ran
                           held: terminate (PID 1 stays) → take → terminate → revert → …
clone without container    clone → start
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.domain.session.container import Container, Observed, Status
from netvps.domain.snapshot.snapshot import (
    Restore,
    RestoreResult,
    RestoreState,
    SnapshotOrder,
    SnapshotResult,
    SnapshotSource,
    SnapshotState,
)

if TYPE_CHECKING:
    from netvps.domain.session.session import Assignment
    from netvps.domain.snapshot.saved import SavedSnapshot


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove this snapshot."""

    uid: str


@dataclass(frozen=True, slots=True)
class Revert:
    """Make the container again, with the files of a snapshot; the one that it replaces is in a snapshot, too."""

    restore: Restore
    replaced: Container | None


@dataclass(frozen=True, slots=True)
class Clone:
    """Make the container from a snapshot of another session."""

    source: SnapshotSource


def snapshot_to_drop(assignment: Assignment, observed: Observed) -> str | None:
    """Uid of a snapshot that should be gone."""
    return next((order.uid for order in assignment.snapshot_orders if order.delete and _is_here(order, observed)), None)


def snapshot_to_take(assignment: Assignment, observed: Observed) -> str | None:
    """Uid of a snapshot that should exist, and was not tried in vain."""
    due = (order.uid for order in assignment.snapshot_orders if not order.delete)
    return next((uid for uid in due if uid not in observed.snapshots and uid not in observed.failures), None)


def due_restore(assignment: Assignment, observed: Observed) -> Restore | None:
    """The restore in place that is neither done nor failed."""
    return assignment.restore if assignment.restore and restore_result(assignment, observed) is None else None


def saves_first(restore: Restore, observed: Observed) -> bool:
    """Whether the state that a restore in place replaces has to become a snapshot yet."""
    return restore.previous not in observed.snapshots and restore.previous not in observed.failures


def restore_result(assignment: Assignment, observed: Observed) -> RestoreResult | None:
    """What became of the restore in place; None if there is none, or if it goes on."""
    restore, container = assignment.restore, observed.container
    if restore is None:
        return None
    if container and container.restored == restore.uid:
        return RestoreResult(restore.uid, RestoreState.DONE)
    why = ""
    if observed.not_restored and observed.not_restored.uid == restore.uid:
        why = observed.not_restored.message
    elif restore.snapshot not in observed.snapshots:
        why = "its files are not on this machine any more; delete it, and choose another one"
    elif container and container.status is Status.DEAD:
        why = "Docker gave up removing the container half-way; restart Docker, then try again"
    elif container and (failure := observed.failures.get(restore.previous)):  # without a container nothing is replaced
        why = f"the present state could not be saved, and is not given up for it: {failure.message}"
    return RestoreResult(restore.uid, RestoreState.FAILED, why) if why else None


def snapshot_results(assignment: Assignment, observed: Observed) -> tuple[SnapshotResult, ...]:
    """What became of the orders so far."""
    results = []
    for order in assignment.snapshot_orders:
        saved = observed.snapshots.get(order.uid)
        if order.uid == observed.taking or (order.delete and _is_here(order, observed)):
            continue
        if order.delete:
            results.append(SnapshotResult(order.uid, SnapshotState.DELETING))
        elif saved:
            results.append(ready_result(saved))
        elif order.uid in observed.failures:
            results.append(observed.failures[order.uid])
    return tuple(results)


def _is_here(order: SnapshotOrder, observed: Observed) -> bool:
    """Whether there is anything of a snapshot: a removal that was interrupted leaves files that are no snapshot."""
    return order.uid in observed.snapshots or order.uid in observed.snapshot_traces


def ready_result(saved: SavedSnapshot) -> SnapshotResult:
    """The result of a snapshot that exists."""
    return SnapshotResult(
        saved.uid,
        SnapshotState.READY,
        size_bytes=saved.size_bytes,
        digest=saved.image,
        warnings=saved.warnings,
    )
