"""Whether a session takes logins, in words for its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.session.session import SessionState

if TYPE_CHECKING:
    from netvps.services.access.logins import Grant, SessionRef

_HINTS: Final = {
    SessionState.STOPPED: "start it with: netvps start {name}",
    SessionState.STOPPING: "when it is STOPPED, start it with: netvps start {name}",
    SessionState.SNAPSHOTTING: "when it is STOPPED, start it with: netvps start {name}",
    SessionState.FAILED: "see why with: netvps show {name}",
    SessionState.DELETED: "create it again with: netvps create {name}",
}


def reason_not_ready(grant: Grant) -> str | None:
    """Why the session's state does not permit logins; None if it does.

    UNREACHABLE permits them: the runner is silent, but the agent may still be connected. PAUSED permits them: a login
    resumes the session.
    """
    session = grant.session
    if session.state in {SessionState.RUNNING, SessionState.PAUSED, SessionState.UNREACHABLE}:
        return None
    name = shown_name(session, grant.user)
    hint = _HINTS.get(session.state, "try again in a moment").format(name=name)
    return f"session {name} is {session.state}: {hint}"


def shown_name(session: SessionRef, user: str) -> str:
    """The name by which that user refers to the session."""
    return session.name if session.owner == user else str(session.full_name)
