"""Whether a session takes logins, in words for its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.names import WATCH_LOGIN
from netvps.domain.session.session import SessionState
from netvps.domain.sleep.waking import LoginEffect

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
    """Why the session's state does not permit logins or commands; None if it does.

    UNREACHABLE permits them: the runner is silent, but the agent may still be connected. PAUSED permits them: a login
    resumes the session.
    """
    session = grant.session
    if session.state in {SessionState.RUNNING, SessionState.PAUSED, SessionState.UNREACHABLE}:
        return None
    name = shown_name(session, grant.user)
    hint = _HINTS.get(session.state, "try again in a moment").format(name=name)
    return f"session {name} is {session.state}: {hint}"


def reason_for_login(grant: Grant, *, asked: bool) -> str | None:
    """Why a login is refused; None if it succeeds, or once the session is woken or known to stay asleep.

    `asked`: it asks to start the session.
    """
    session = grant.session
    name = shown_name(session, grant.user)
    if grant.unix_user == WATCH_LOGIN and session.effect is not LoginEffect.NONE:
        return f"session {name} is {session.state}: there is no terminal to watch"
    if session.effect is LoginEffect.REFUSED:
        return reason_not_ready(grant) or f"session {name} takes no logins now: see netvps show {name}"
    if session.effect is LoginEffect.ASKED and not asked:
        return f"session {name} is {session.state}: {hint_to_start(session, name)}"
    return None


def hint_to_start(session: SessionRef, name: str) -> str:
    """How to start a session that a login did not start."""
    why = {
        LoginEffect.TERMINAL: "a person stopped it, so only a login with a terminal starts it",
        LoginEffect.ASKED: "its owner set that no login starts it",
    }.get(session.effect, "a login does not start it")
    return f"{why}; start it with: netvps start {name}, or log in as wake+{name}"


def shown_name(session: SessionRef, user: str) -> str:
    """The name by which that user refers to the session."""
    return session.name if session.owner == user else str(session.full_name)
