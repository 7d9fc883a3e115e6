"""Orders a snapshot within a transaction, if its session can have one, and within the limits of its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.domain.runner.runner import SNAPSHOTS, Runner, RunnerState
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.snapshot.orders import order_snapshot
from netvps.domain.snapshot.snapshot import (
    Snapshot,
    SnapshotCause,
    SnapshotDraft,
    SnapshotOrder,
    free_id,
)
from netvps.errors import AlreadyExists, Exhausted, Unavailable, WrongState
from netvps.services.snapshots.use import snapshots_of

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.services.ports import Reader

_ANY_STATE: Final = frozenset({SnapshotCause.RESTORE, SnapshotCause.IMPORT})
"""A restore is a way out of every state, and an archive may be what is restored."""
_HAS_FILES: Final = frozenset({SessionState.RUNNING, SessionState.PAUSED, SessionState.STOPPED})


@dataclass(frozen=True, slots=True)
class Limits:
    """How many snapshots on request, READY or not, there may be at once; and the default number of their copies."""

    per_session: int = 50
    per_user: int = 500
    copies: int = 1


async def take_snapshot(
    reader: Reader,
    session: Session,
    draft: SnapshotDraft,
    cause: SnapshotCause,
    *,
    uid: str,
    now: datetime,
    copies: int,
) -> tuple[Session, Snapshot]:
    """The session with an order, and its snapshot; neither is written yet. `copies` is the default number of those.

    Raises WrongState if the session has no files or its runner is too old, AlreadyExists if the id is in use.
    """
    runner = await reader.get(Runner, session.runner) if session.runner else None
    _require_files(session, runner, cause)
    taken = {snapshot.id for snapshot in await snapshots_of(reader, session.uid)}
    if draft.id in taken:
        raise AlreadyExists(
            f"session {session.full_name} has a snapshot {draft.id} already: choose another name, or delete that one"
        )
    online = runner is not None and runner.state is RunnerState.ONLINE
    snapshot = Snapshot(
        uid=uid,
        session=session.uid,
        session_name=session.name,
        owner=session.owner,
        id=draft.id or free_id(taken, now),
        cause=cause,
        create_time=now,
        update_time=now,
        description=draft.description,
        labels=draft.labels,
        pinned=draft.pinned,
        copies=draft.copies or session.spec.snapshot_policy.copies or copies,
        message="" if online else f"its runner {session.runner_name} is offline: it is taken when that returns",
    )
    return order_snapshot(session, SnapshotOrder(uid), now), snapshot


async def require_room(reader: Reader, session: Session, limits: Limits) -> None:
    """Raises Exhausted if a session or its owner has as many snapshots on request as are allowed."""
    of_owner = await reader.find(Snapshot, owner=session.owner)
    asked = [snapshot for snapshot in of_owner if not snapshot.automatic]
    here = sum(snapshot.session == session.uid for snapshot in asked)
    for who, count, most in (
        (f"session {session.full_name}", here, limits.per_session),
        (f"user {session.owner}", len(asked), limits.per_user),
    ):
        if count >= most:
            raise Exhausted(
                f"{who} has {count} snapshots, which is the limit: delete one first (netvps snapshot ls "
                f"{session.full_name})",
                reason="TOO_MANY_SNAPSHOTS",
            )


async def is_online(reader: Reader, session: Session) -> bool:
    """Whether the runner of a session is connected."""
    runner = await reader.get(Runner, session.runner)
    return runner is not None and runner.state is RunnerState.ONLINE


def _require_files(session: Session, runner: Runner | None, cause: SnapshotCause) -> None:
    name = session.full_name
    if session.desired is DesiredState.DELETED:
        raise WrongState(f"session {name} is being deleted: no snapshot can be taken of it any more")
    if runner is None:
        raise WrongState(f"session {name} has no files yet, as no runner has it: wait until it runs")
    if SNAPSHOTS not in runner.capabilities:
        raise WrongState(
            f"the runner {runner.name} of session {name} takes no snapshots, with version "
            f"{runner.version or 'unknown'}: upgrade it"
        )
    if cause in _ANY_STATE or session.state in _HAS_FILES:
        return
    if session.state is SessionState.UNREACHABLE:
        raise Unavailable(f"the runner {runner.name} of session {name} is offline: try again when it is back")
    failed = f" ({session.message})" if session.state is SessionState.FAILED and session.message else ""
    raise WrongState(
        f"session {name} is {session.state}{failed}: a snapshot is taken of a RUNNING, PAUSED or STOPPED session"
    )
