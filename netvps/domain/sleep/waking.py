"""What a login does to a session: which ones start a session that sleeps; pure.

An explicit stop holds: a session that a person stopped starts again only for a login with a terminal, or for one that
asks for it, unless its owner set something else. So a program that reconnects again and again (an IDE, a cron job)
does not undo the stop. One that netvps stopped starts for any login.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from netvps.domain.session.session import ChangeCause, DesiredState, SessionState
from netvps.domain.sleep.policy import WakePolicy

if TYPE_CHECKING:
    from netvps.domain.session.session import Session


class LoginEffect(StrEnum):
    """What a login does to a session."""

    NONE = "NONE"
    """It takes logins."""
    RESUME = "RESUME"
    """It is paused; any login resumes it."""
    START = "START"
    """It is stopped; any login starts it."""
    TERMINAL = "TERMINAL"
    """It is stopped; a login with a terminal starts it, or one that asks for it."""
    ASKED = "ASKED"
    """It is stopped; only a login that asks for it starts it (`ssh wake+NAME@…`)."""
    WAIT = "WAIT"
    """It is starting; a login waits."""
    REFUSED = "REFUSED"
    """It takes no logins, and none changes that."""


class LoginKind(StrEnum):
    """What is known of a login that is to start a session."""

    PLAIN = "PLAIN"
    TERMINAL = "TERMINAL"
    ASKED = "ASKED"


ALIVE: Final = frozenset({SessionState.RUNNING, SessionState.PAUSED, SessionState.UNREACHABLE})
"""UNREACHABLE counts: the runner is silent, but the agent may still be connected."""
_BY_NETVPS: Final = frozenset({ChangeCause.IDLE, ChangeCause.SCHEDULE, ChangeCause.LIFETIME, ChangeCause.DRAIN})
_ENOUGH: Final = {
    LoginEffect.RESUME: frozenset(LoginKind),
    LoginEffect.START: frozenset(LoginKind),
    LoginEffect.TERMINAL: frozenset({LoginKind.TERMINAL, LoginKind.ASKED}),
    LoginEffect.ASKED: frozenset({LoginKind.ASKED}),
}


def effect_of_login(session: Session) -> LoginEffect:
    """What a login does to the session now."""
    match session.desired:
        case DesiredState.PAUSED:
            return LoginEffect.RESUME if session.state in ALIVE else LoginEffect.REFUSED
        case DesiredState.STOPPED:
            return _effect_on_stopped(session)
        case DesiredState.RUNNING if session.state in ALIVE:
            return LoginEffect.NONE
        case DesiredState.RUNNING if session.runner and session.state is not SessionState.FAILED:
            return LoginEffect.WAIT
    return LoginEffect.REFUSED


def starts(effect: LoginEffect, kind: LoginKind) -> bool:
    """Whether a login of that kind resumes or starts a session."""
    return kind in _ENOUGH.get(effect, ())


def _effect_on_stopped(session: Session) -> LoginEffect:
    if session.move and session.move.is_open:
        return LoginEffect.WAIT if session.move.resume else LoginEffect.REFUSED
    if session.state is SessionState.FAILED:
        return LoginEffect.REFUSED
    match session.spec.wake:
        case WakePolicy.ALWAYS:
            return LoginEffect.START
        case WakePolicy.NEVER:
            return LoginEffect.ASKED
    return LoginEffect.START if session.desired_by.cause in _BY_NETVPS else LoginEffect.TERMINAL
