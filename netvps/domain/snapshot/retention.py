"""Which snapshots of a session retention deletes: by number and by age, never one that is pinned or in use."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from netvps.domain.snapshot.policy import DEFAULT_KEEP as DEFAULT_SCHEDULED
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotCause, SnapshotState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from netvps.domain.session.spec import SessionSpec

DEFAULT_KEEP: Final = 1
"""Snapshots of stops that are kept. The latest costs no disk space: it shares its file with the copy of the session."""
KEEP_REPLACED: Final = 5
"""Snapshots of states that restores replaced: each is the only way back from its restore."""
_AT_REST: Final = {SnapshotState.READY, SnapshotState.FAILED}


def superfluous(
    snapshots: Iterable[Snapshot], spec: SessionSpec, in_use: Collection[str], now: datetime
) -> list[Snapshot]:
    """Automatic snapshots to delete, given all of a session; `in_use` has the uids that something needs."""
    alike: defaultdict[tuple[SnapshotCause, SnapshotState], list[Snapshot]] = defaultdict(list)
    for snapshot in snapshots:
        if snapshot.automatic and not snapshot.pinned and snapshot.state in _AT_REST:
            alike[snapshot.cause, snapshot.state].append(snapshot)  # a failed one replaces no good one
    found = []
    for (cause, _), taken in alike.items():
        latest_first = sorted(taken, key=lambda one: one.uid, reverse=True)  # uids are ordered by time
        for number, snapshot in enumerate(latest_first):
            beyond = number >= _keep(cause, spec) or _too_old(snapshot, spec, now, latest=number == 0)
            if beyond and snapshot.uid not in in_use:
                found.append(snapshot)
    return found


def _keep(cause: SnapshotCause, spec: SessionSpec) -> int:
    if cause is SnapshotCause.SCHEDULE:
        return spec.snapshot_policy.keep or DEFAULT_SCHEDULED
    keep = spec.snapshot_keep or DEFAULT_KEEP
    return max(keep, KEEP_REPLACED) if cause is SnapshotCause.RESTORE else keep


def _too_old(snapshot: Snapshot, spec: SessionSpec, now: datetime, *, latest: bool) -> bool:
    """The latest scheduled one says when the next is due."""
    scheduled = snapshot.cause is SnapshotCause.SCHEDULE
    most = spec.snapshot_policy.max_age if scheduled else spec.snapshot_max_age
    return most > 0 and not (scheduled and latest) and (now - snapshot.create_time).total_seconds() > most
