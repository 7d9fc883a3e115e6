"""The state machine of a session, as pure functions from a session and an event to the next session.

    PENDING → PREPARING → STARTING → RUNNING ⇄ PAUSED
    RUNNING → STOPPING → STOPPED → PREPARING …
    any → FAILED, UNREACHABLE; DELETED is final

A session is STOPPED as soon as its container is; while its files are copied afterwards, its reason is
`snapshot_pending`. Older runners report SNAPSHOTTING between STOPPING and STOPPED.

The owner changes `desired` and `generation` (`want`); the runner changes the rest (`observe`). Both are level-based:
a runner that receives the same desired state twice, and a control plane that receives the same report twice, change
nothing. A session without a runner has nothing to converge, so its desired state takes effect immediately.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.runner.docker_names import snapshot_number
from netvps.domain.session.session import Assignment, DesiredState, Session, SessionReport, SessionSpec, SessionState
from netvps.errors import WrongState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.names import SessionName
    from netvps.domain.runner.runner import Runner
    from netvps.domain.session.session import SnapshotImage

SNAPSHOT_FAILED = "snapshot_failed"
SNAPSHOT_PENDING = "snapshot_pending"
RUNNER_LOST = "runner_lost"
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
}
_DONE_TO_IT = {
    DesiredState.RUNNING: "started",
    DesiredState.STOPPED: "stopped",
    DesiredState.DELETED: "removed",
}


def new_session(uid: str, name: SessionName, spec: SessionSpec, now: datetime) -> Session:
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
    )


def want(session: Session, desired: DesiredState, now: datetime) -> Session:
    """The session with a new desired state; the same object if nothing changes.

    A repeated request is a retry, with a new generation, if the session FAILED or the snapshot of its stop failed.
    Raises WrongState for a session that is being deleted, unless `desired` is DELETED.
    """
    if session.desired is DesiredState.DELETED and desired is not DesiredState.DELETED:
        raise WrongState(f"session {session.full_name} is being deleted: wait until it is gone, then create it again")
    if session.desired is desired and not _failed(session):
        return session
    wanted = replace(session, desired=desired, generation=session.generation + 1, update_time=now)
    return wanted if session.runner else _settle_unplaced(wanted)


def defer(session: Session, now: datetime) -> Session:
    """The session with a message that the change happens when its offline runner returns."""
    message = (
        f"its runner {session.runner_name} is offline: it will be {_DONE_TO_IT[session.desired]} when that returns"
    )
    return session if session.message == message else replace(session, message=message, update_time=now)


def place(session: Session, runner: Runner, now: datetime, overlay_address: str = "") -> Session:
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
        session,
        state=report.state,
        observed_generation=report.generation,
        reason=report.reason,
        message=report.message,
        address=report.address,
        snapshot=_newer(session, report),
        last_exit=report.last_exit or session.last_exit,
    )
    return session if seen == session else replace(seen, update_time=now)


def lose(session: Session, now: datetime) -> Session:
    """The session after its runner was marked offline. A session at rest does not change."""
    if session.state in _AT_REST:
        return session
    silent = f"its runner {session.runner_name} is silent"
    goes_on = session.state not in _NOT_UP_YET
    return replace(
        session,
        state=SessionState.UNREACHABLE,
        reason=RUNNER_LOST,
        message=f"{silent}; the session itself most likely runs"
        if goes_on
        else f"{silent}; it goes on when that returns",
        update_time=now,
    )


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
    )


def _failed(session: Session) -> bool:
    """Whether the runner gave up on the current generation."""
    stop_failed = session.desired is DesiredState.STOPPED and session.reason == SNAPSHOT_FAILED
    return session.observed_generation == session.generation and (session.state is SessionState.FAILED or stop_failed)


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
