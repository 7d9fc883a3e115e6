"""The state machine of a session, as pure functions from a session and an event to the next session.

    PENDING → PREPARING → STARTING → RUNNING ⇄ PAUSED
    RUNNING → STOPPING → STOPPED → PREPARING …
    any → FAILED, UNREACHABLE; DELETED is final

A session is STOPPED as soon as its container is; while its files are copied afterwards, its reason is
`snapshot_pending`. Older runners report SNAPSHOTTING between STOPPING and STOPPED.

The owner changes `desired`, the spec and `generation` (`set_desired`, `pause`, `update`); the runner changes the rest
(`observe`). Both are level-based:
a runner that receives the same desired state twice, and a control plane that receives the same report twice, change
nothing. A session without a runner has nothing to converge, so its desired state takes effect immediately.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.runner.docker_names import snapshot_number
from netvps.domain.session.session import (
    UNKNOWN_AUTHOR,
    Assignment,
    Author,
    ChangeCause,
    DesiredState,
    LastExit,
    Session,
    SessionReport,
    SessionState,
)
from netvps.domain.session.spec import SessionSpec
from netvps.errors import WrongState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.names import SessionName
    from netvps.domain.runner.runner import Runner
    from netvps.domain.session.session import SnapshotImage

SNAPSHOT_FAILED = "snapshot_failed"
SNAPSHOT_PENDING = "snapshot_pending"
RUNNER_LOST = "runner_lost"
ENDED = "ended"
"""The container ended by itself and is not to be started again."""
STOPPED_CAUSE = "stopped"
"""LastExit.cause of a container that was stopped as requested."""
PAUSE_FAILED = "pause_failed"
RESIZE_REFUSED = "resize_refused"
GPU = "gpu"
"""A GPU of the session is gone from its machine."""
DISK_LIMIT = "disk_limit"
"""Its container still has another limit of its disk."""
ADDRESSES_EXHAUSTED = "addresses_exhausted"
TRANSIENT = frozenset(
    {
        SessionState.PENDING,
        SessionState.PREPARING,
        SessionState.STARTING,
        SessionState.STOPPING,
        SessionState.SNAPSHOTTING,
    }
)
_AT_REST = frozenset({SessionState.STOPPED, SessionState.FAILED, SessionState.UNREACHABLE})
_NOT_UP_YET = frozenset({SessionState.PENDING, SessionState.PREPARING, SessionState.STARTING})
_GOAL = {
    DesiredState.RUNNING: SessionState.RUNNING,
    DesiredState.STOPPED: SessionState.STOPPED,
    DesiredState.DELETED: SessionState.DELETED,
    DesiredState.PAUSED: SessionState.PAUSED,
}
_DONE_TO_IT = {
    DesiredState.RUNNING: "started",
    DesiredState.STOPPED: "stopped",
    DesiredState.DELETED: "removed",
    DesiredState.PAUSED: "paused",
}
_PAUSABLE = frozenset({SessionState.RUNNING, SessionState.PAUSED, SessionState.UNREACHABLE})


def new_session(uid: str, name: SessionName, spec: SessionSpec, now: datetime, by: Author = UNKNOWN_AUTHOR) -> Session:
    """A session with the desired state RUNNING, not placed yet."""
    return Session(
        uid=uid,
        name=name.name,
        owner=name.owner,
        spec=spec,
        desired=DesiredState.RUNNING,
        generation=1,
        create_time=now,
        update_time=now,
        message="waiting for a runner",
        desired_by=by,
        desired_time=now,
        run_time=now,
    )


def set_desired(session: Session, desired: DesiredState, now: datetime, by: Author = UNKNOWN_AUTHOR) -> Session:
    """The session with a new desired state; the same object if nothing changes.

    A repeated request is a retry, with a new generation, if the session FAILED or the snapshot of its stop failed.
    Raises WrongState for a session that is being deleted, unless `desired` is DELETED.
    """
    if session.desired is DesiredState.DELETED and desired is not DesiredState.DELETED:
        raise WrongState(f"session {session.full_name} is being deleted: wait until it is gone, then create it again")
    session = _not_resumed(session, desired)
    if session.desired is desired and not _failed(session):
        return session
    generation, resumed = session.generation + 1, session.desired is DesiredState.PAUSED
    wanted = replace(session, desired=desired, generation=generation, update_time=now, desired_by=by, desired_time=now)
    if desired in {DesiredState.STOPPED, DesiredState.DELETED}:
        wanted = replace(wanted, stopped_by=by, kept_until=None)
    if desired is DesiredState.RUNNING and not resumed:
        undone = 0 if by.cause is ChangeCause.PERSON else session.robot_wakes
        wanted = replace(wanted, run_time=now, robot_wakes=undone)
    return wanted if session.runner else _settle_unplaced(wanted)


def pause(session: Session, now: datetime, by: Author = UNKNOWN_AUTHOR) -> Session:
    """The session to be frozen. Raises WrongState unless it runs; for one that is being deleted, as `set_desired`."""
    pausable = session.desired in {DesiredState.RUNNING, DesiredState.PAUSED} and session.state in _PAUSABLE
    if session.desired is not DesiredState.DELETED and not pausable:
        raise WrongState(
            f"session {session.full_name} is {session.state}, and only a running session can be paused: "
            + _until_pausable(session)
        )
    return set_desired(session, DesiredState.PAUSED, now, by)


def resume(session: Session, now: datetime, by: Author = UNKNOWN_AUTHOR) -> Session:
    """The session to run on; the same object if it is not paused. Raises WrongState if it is stopped."""
    if session.desired is DesiredState.RUNNING:
        return session
    if session.desired is DesiredState.STOPPED:
        raise WrongState(
            f"session {session.full_name} is {session.state}, not PAUSED: start it with: "
            f"netvps start {session.full_name}"
        )
    return set_desired(session, DesiredState.RUNNING, now, by)


def delete(session: Session, now: datetime, by: Author = UNKNOWN_AUTHOR) -> Session:
    """The session to be deleted. Raises WrongState if it is protected."""
    if session.spec.delete_protection:
        raise WrongState(
            f"session {session.full_name} is protected from deletion: lift that with: "
            f"netvps set {session.full_name} --no-protect",
            reason="DELETE_PROTECTED",
        )
    return set_desired(session, DesiredState.DELETED, now, by)


def rename(session: Session, name: str, now: datetime) -> Session:
    """The session with another name; the same object if it has that. Raises WrongState if it is being deleted."""
    _require_kept(session)
    return session if session.name == name else replace(session, name=name, update_time=now)


def update(session: Session, spec: SessionSpec, now: datetime) -> Session:
    """The session with an updated spec; the same object if nothing changes. Raises WrongState if it is being deleted.

    New limits of a placed session get a new generation: it is settled once its runner has applied or refused them, or
    has said when a new limit of its disk holds.
    """
    _require_kept(session)
    if spec == session.spec:
        return session
    updated = replace(session, spec=spec, update_time=now)
    if not session.runner or (spec.limits, spec.disk_bytes) == (session.spec.limits, session.spec.disk_bytes):
        return updated
    changed = session.spec.limits if spec.limits != session.spec.limits else None
    return replace(updated, generation=session.generation + 1, limits_before=session.limits_before or changed)


def defer(session: Session, now: datetime) -> Session:
    """The session with a message that the change happens when its offline runner returns."""
    message = (
        f"its runner {session.runner_name} is offline: it will be {_DONE_TO_IT[session.desired]} when that returns"
    )
    return session if session.message == message else replace(session, message=message, update_time=now)


def place(
    session: Session,
    runner: Runner,
    now: datetime,
    overlay_address: str = "",
    gpus: tuple[str, ...] = (),
    *,
    local_address: str = "",
) -> Session:
    """The session placed on a runner, in a new epoch. Reports of earlier epochs are ignored from now on."""
    return replace(
        session,
        runner=runner.uid,
        runner_name=runner.name,
        epoch=session.epoch + 1,
        state=SessionState.PENDING,
        observed_generation=0,
        reason="",
        message=f"waiting for its runner {runner.name}",
        address="",
        overlay_address=overlay_address,
        local_address=local_address,
        gpus=gpus,
        update_time=now,
    )


def wait(session: Session, reason: str, message: str, now: datetime) -> Session:
    """The session with the reason why no runner has it yet; the same object if that is already set."""
    if (session.reason, session.message) == (reason, message):
        return session
    return replace(session, reason=reason, message=message, update_time=now)


def observe(session: Session, report: SessionReport, now: datetime) -> Session:
    """The session after a report; the same object if the report is stale, foreign, unchanged, or impossible."""
    if not _credible(session, report):
        return session
    seen = replace(
        _with_limits_settled(session, report),
        state=report.state,
        observed_generation=report.generation,
        reason=report.reason,
        message=report.message,
        address=report.address,
        snapshot=_newer(session, report),
        last_exit=_last_exit(session, report),
    )
    if report.reason == ENDED and report.generation == session.generation:
        seen = _ended(seen, now)
    seen = _without_gpus(seen)
    return session if seen == session else replace(seen, update_time=now)


def lose(session: Session, now: datetime) -> Session:
    """The session after its runner was marked offline. A session at rest does not change."""
    if session.state in _AT_REST:
        return session
    silent = f"its runner {session.runner_name} is silent"
    if session.state in _NOT_UP_YET:
        message = f"{silent}; it goes on when that returns"
    else:
        is_so = "is still paused" if session.state is SessionState.PAUSED else "runs"
        message = f"{silent}; the session itself most likely {is_so}"
    return replace(session, state=SessionState.UNREACHABLE, reason=RUNNER_LOST, message=message, update_time=now)


def settled(session: Session) -> bool:
    """Whether the session reached its desired state, or failed to: it will not change any further by itself."""
    if session.observed_generation != session.generation:
        return False
    return session.state is _GOAL[session.desired] or _failed(session)


def assignment(session: Session) -> Assignment:
    """The session as its runner needs it."""
    return Assignment(
        session_uid=session.uid,
        session_id=session.name,
        owner_id=session.owner,
        epoch=session.epoch,
        generation=session.generation,
        desired=session.desired,
        spec=session.spec,
        snapshot=session.snapshot,
        revision=session.revision,
        address=session.overlay_address,
        local_address=session.local_address,
        gpus=session.gpus,
        snapshot_orders=session.snapshot_orders,
        restore=session.pending_restore,
        source=session.made_from,
    )


def _failed(session: Session) -> bool:
    """Whether the runner gave up on the current generation."""
    failed = (
        session.state is SessionState.FAILED
        or (session.desired is DesiredState.STOPPED and session.reason == SNAPSHOT_FAILED)
        or (session.desired is DesiredState.PAUSED and session.reason == PAUSE_FAILED)
    )
    return session.observed_generation == session.generation and failed


def _settle_unplaced(session: Session) -> Session:
    if session.desired is DesiredState.RUNNING:
        return replace(session, state=SessionState.PENDING, reason="", message="waiting for a runner")
    return replace(
        session,
        state=_GOAL[session.desired],
        observed_generation=session.generation,
        reason="",
        message="it was never started" if session.desired is DesiredState.STOPPED else "",
    )


def _not_resumed(session: Session, desired: DesiredState) -> Session:
    """The session, which does not run again after its move if its owner stops it meanwhile."""
    move = session.move
    if desired is not DesiredState.STOPPED or move is None or not (move.is_open and move.stopped and move.resume):
        return session
    return replace(session, move=replace(move, resume=False))


def _require_kept(session: Session) -> None:
    if session.desired is DesiredState.DELETED:
        raise WrongState(f"session {session.full_name} is being deleted, and cannot be changed any more")


def _until_pausable(session: Session) -> str:
    if session.desired is DesiredState.STOPPED or session.state is SessionState.FAILED:
        return f"start it with: netvps start {session.full_name}"
    return "wait until it is RUNNING"


def _ended(session: Session, now: datetime) -> Session:
    """The session after its container ended by itself and is not started again: as if its owner had stopped it."""
    return replace(
        session,
        desired=DesiredState.STOPPED,
        generation=session.generation + 1,
        observed_generation=session.generation + 1,
        desired_by=Author(cause=ChangeCause.ENDED),
        desired_time=now,
        kept_until=None,
    )


def _without_gpus(session: Session) -> Session:
    """The session without its GPUs once its container has stopped as desired; another session may get them then."""
    stopped = session.desired is DesiredState.STOPPED and session.state is SessionState.STOPPED
    if session.move is not None and session.move.is_open:
        return session  # where the move fails, it runs again with them
    if not session.gpus or not stopped or session.observed_generation != session.generation:
        return session
    return replace(session, gpus=(), gpus_before=session.gpus)


def _with_limits_settled(session: Session, report: SessionReport) -> Session:
    """The session with its old limits if the runner refused the new ones; without them if it applied them."""
    if session.limits_before is None or report.generation != session.generation:
        return session
    if report.reason != RESIZE_REFUSED:
        applied = report.state in {SessionState.RUNNING, SessionState.PAUSED, *_AT_REST}
        return replace(session, limits_before=None) if applied else session
    old = session.limits_before
    spec = replace(session.spec, cpus=old.cpus, memory_bytes=old.memory_bytes, pids=old.pids)
    return replace(session, spec=spec, limits_before=None)


def _last_exit(session: Session, report: SessionReport) -> LastExit | None:
    """The last exit with its author. What was reported of it first stays: a restarted runner knows less about it."""
    new, old = report.last_exit, session.last_exit
    if new is None or (old is not None and old.end_time == new.end_time):
        return old
    return replace(new, author=session.stopped_by) if new.cause == STOPPED_CAUSE else new


def _credible(session: Session, report: SessionReport) -> bool:
    """Whether a report is about this placement of the session, not older than the last one, and possible."""
    if (report.session_uid, report.epoch) != (session.uid, session.epoch):
        return False
    if not session.observed_generation <= report.generation <= session.generation:
        return False
    if report.state is SessionState.DELETED:  # only the owner deletes a session, and that is the last generation
        return session.desired is DesiredState.DELETED and report.generation == session.generation
    return report.state is not SessionState.UNREACHABLE  # a runner that reports is reachable


def _newer(session: Session, report: SessionReport) -> SnapshotImage | None:
    """The snapshot to start from: highest generation, then highest number, since a runner's clock may be set back."""
    old, new = session.snapshot, report.snapshot
    if new is None or new.session_uid != session.uid:
        return old
    if old is None or _order(new) >= _order(old):
        return new
    return old


def _order(snapshot: SnapshotImage) -> tuple[int, int, datetime]:
    return snapshot.generation, snapshot_number(snapshot.image), snapshot.create_time
