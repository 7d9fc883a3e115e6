"""What a login does to a session: which ones start a session that sleeps; pure.

An explicit stop holds: a session that a person stopped starts again only for a login with a terminal, or for one that
asks for it, unless its owner set something else. So a program that reconnects again and again (an IDE, a cron job)
does not undo the stop. One that netvps stopped starts for any login.

Where an owner lets any login undo a stop, a login that twice in a row did that within minutes, without a terminal, is
most likely a program: the next one needs a terminal.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from netvps.domain.session.session import ChangeCause, DesiredState, SessionState
from netvps.domain.sleep.policy import WakePolicy

if TYPE_CHECKING:
    from datetime import datetime

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
ROBOT_WAKES: Final = 2
"""Undone stops after which a login without a terminal counts as a program's."""
_ROBOT_TIME: Final = timedelta(minutes=10)
"""Within which of a stop a login undoes it."""
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


def woken_by(session: Session, kind: LoginKind, now: datetime) -> Session:
    """The session, to be started for a login: it counts the stops of a person that programs undo.

    A wake with a terminal, by wake+NAME, or long after the stop starts the count again.
    """
    stopped = session.desired is DesiredState.STOPPED and session.desired_by.cause is ChangeCause.PERSON
    if not stopped:
        return session
    soon = session.desired_time is not None and now - session.desired_time <= _ROBOT_TIME
    undone = session.robot_wakes + 1 if kind is LoginKind.PLAIN and soon else 0
    return replace(session, robot_wakes=undone)


def is_for_people(session: Session) -> bool:
    """Whether its last stops were undone by what is most likely a program."""
    by_person = session.desired_by.cause is ChangeCause.PERSON
    return by_person and session.desired is DesiredState.STOPPED and session.robot_wakes >= ROBOT_WAKES


def _effect_on_stopped(session: Session) -> LoginEffect:
    if session.move and session.move.is_open:
        return LoginEffect.WAIT if session.move.resume else LoginEffect.REFUSED
    if session.state is SessionState.FAILED:
        return LoginEffect.REFUSED
    match session.spec.wake:
        case WakePolicy.ALWAYS:
            return LoginEffect.TERMINAL if is_for_people(session) else LoginEffect.START
        case WakePolicy.NEVER:
            return LoginEffect.ASKED
    return LoginEffect.START if session.desired_by.cause in _BY_NETVPS else LoginEffect.TERMINAL
