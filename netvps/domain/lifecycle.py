"""The state machine of a session: pure functions from a session and what happened to the session after it.

    PENDING → PREPARING → STARTING → RUNNING ⇄ PAUSED
    RUNNING → STOPPING → SNAPSHOTTING → STOPPED → PREPARING …
    any → FAILED, UNREACHABLE; DELETED is the end

The owner moves `desired` and `generation` (want); the runner moves the rest (observe). Neither is a command: a runner
that hears the same desire twice, and a control plane that hears the same report twice, change nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.session import Assignment, DesiredState, Session, SessionReport, SessionSpec, SessionState
from netvps.errors import WrongState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.names import SessionName
    from netvps.domain.runner import Runner
    from netvps.domain.session import Snapshot

TRANSIENT = frozenset(
    {
        SessionState.PENDING,
        SessionState.PREPARING,
        SessionState.STARTING,
        SessionState.STOPPING,
        SessionState.SNAPSHOTTING,
    }
)
_GOAL = {
    DesiredState.RUNNING: SessionState.RUNNING,
    DesiredState.STOPPED: SessionState.STOPPED,
    DesiredState.DELETED: SessionState.DELETED,
}


def new_session(uid: str, name: SessionName, spec: SessionSpec, now: datetime) -> Session:
    """A session that shall run, not placed yet."""
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
    """The session after its owner asked for `desired`; the same session if that changes nothing.

    Asking again for what FAILED, or for a stop whose snapshot failed, is a retry: a new generation.
    Raises WrongState for a session that is being deleted.
    """
    if session.desired is DesiredState.DELETED:
        if desired is DesiredState.DELETED:
            return session
        raise WrongState(f"session {session.full_name} is being deleted; create it anew when it is gone")
    retry = session.observed_generation == session.generation and (
        session.state is SessionState.FAILED or session.reason == "snapshot_failed"
    )
    if session.desired is desired and not retry:
        return session
    return replace(session, desired=desired, generation=session.generation + 1, update_time=now)


def place(session: Session, runner: Runner, now: datetime) -> Session:
    """The session on a runner, in a new epoch."""
    return replace(
        session,
        runner=runner.uid,
        runner_name=runner.name,
        epoch=session.epoch + 1,
        message="waiting for its runner",
        update_time=now,
    )


def observe(session: Session, report: SessionReport, now: datetime) -> Session:
    """The session after a report; the same session if the report is old, foreign, or no news."""
    if report.epoch != session.epoch or not session.observed_generation <= report.generation <= session.generation:
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
    """The session after its runner fell silent. One that was at rest stays what it was."""
    if session.state in {SessionState.STOPPED, SessionState.FAILED, SessionState.UNREACHABLE}:
        return session
    return replace(
        session,
        state=SessionState.UNREACHABLE,
        reason="runner_lost",
        message="its runner is silent; the session itself most likely runs",
        update_time=now,
    )


def settled(session: Session) -> bool:
    """Whether the session is as its owner wants it, or failed to get there: nothing more will come by itself."""
    if session.observed_generation != session.generation:
        return False
    return session.state in {_GOAL[session.desired], SessionState.FAILED} or session.reason == "snapshot_failed"


def assignment(session: Session) -> Assignment:
    """What the session's runner needs to know."""
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
    )


def _newer(session: Session, report: SessionReport) -> Snapshot | None:
    old, new = session.snapshot, report.snapshot
    return new if new is not None and (old is None or new.create_time >= old.create_time) else old
