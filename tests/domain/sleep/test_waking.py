"""What a login does to a session, by who stopped it and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.moves.move import Move, MoveStage
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.policy import WakePolicy
from netvps.domain.sleep.waking import LoginEffect, LoginKind, effect_of_login, starts, woken_by

NOW = datetime(2026, 5, 4, tzinfo=UTC)
STOPPED = Session(
    uid="u1",
    name="dev1",
    owner="ann",
    spec=SessionSpec(image="debian:12"),
    desired=DesiredState.STOPPED,
    generation=2,
    create_time=NOW,
    update_time=NOW,
    state=SessionState.STOPPED,
    runner="r1",
    desired_by=Author("ann", ChangeCause.PERSON),
)


def stopped_by(cause: ChangeCause, wake: WakePolicy = WakePolicy.DEFAULT) -> Session:
    return replace(STOPPED, desired_by=Author("ann", cause), spec=replace(STOPPED.spec, wake=wake))


def running(state: SessionState, runner: str = "r1") -> Session:
    return replace(STOPPED, desired=DesiredState.RUNNING, state=state, runner=runner)


MOVE = Move("m1", "ann", "r1", "lab1", NOW, MoveStage.COPYING, stopped=True)
DEFAULT, ALWAYS, NEVER = WakePolicy.DEFAULT, WakePolicy.ALWAYS, WakePolicy.NEVER


@pytest.mark.parametrize(
    ("session", "effect"),
    [
        (stopped_by(ChangeCause.IDLE), LoginEffect.START),
        (stopped_by(ChangeCause.SCHEDULE), LoginEffect.START),
        (stopped_by(ChangeCause.LIFETIME), LoginEffect.START),
        (stopped_by(ChangeCause.DRAIN), LoginEffect.START),
        (stopped_by(ChangeCause.PERSON), LoginEffect.TERMINAL),
        (stopped_by(ChangeCause.ENDED), LoginEffect.TERMINAL),
        (stopped_by(ChangeCause.UNSPECIFIED), LoginEffect.TERMINAL),
        (stopped_by(ChangeCause.PERSON, ALWAYS), LoginEffect.START),
        (stopped_by(ChangeCause.ENDED, ALWAYS), LoginEffect.START),
        # Programs undid two stops of a person.
        (replace(stopped_by(ChangeCause.PERSON, ALWAYS), robot_wakes=1), LoginEffect.START),
        (replace(stopped_by(ChangeCause.PERSON, ALWAYS), robot_wakes=2), LoginEffect.TERMINAL),
        (replace(stopped_by(ChangeCause.IDLE, ALWAYS), robot_wakes=2), LoginEffect.START),
        (stopped_by(ChangeCause.IDLE, NEVER), LoginEffect.ASKED),
        (stopped_by(ChangeCause.PERSON, NEVER), LoginEffect.ASKED),
        # It is still being stopped, or its snapshot failed: a start at once is as good as one later.
        (replace(stopped_by(ChangeCause.IDLE), state=SessionState.STOPPING), LoginEffect.START),
        (replace(stopped_by(ChangeCause.PERSON), state=SessionState.UNREACHABLE), LoginEffect.TERMINAL),
        (replace(stopped_by(ChangeCause.IDLE), state=SessionState.FAILED), LoginEffect.REFUSED),
        (replace(stopped_by(ChangeCause.DRAIN), move=replace(MOVE, resume=True)), LoginEffect.WAIT),
        (replace(stopped_by(ChangeCause.PERSON), move=MOVE), LoginEffect.REFUSED),
        (replace(stopped_by(ChangeCause.IDLE), move=replace(MOVE, stage=MoveStage.DONE)), LoginEffect.START),
        (running(SessionState.RUNNING), LoginEffect.NONE),
        (running(SessionState.UNREACHABLE), LoginEffect.NONE),
        (running(SessionState.PAUSED), LoginEffect.NONE),
        (running(SessionState.STARTING), LoginEffect.WAIT),
        (running(SessionState.STOPPED), LoginEffect.WAIT),
        (running(SessionState.PENDING), LoginEffect.WAIT),
        (running(SessionState.PENDING, runner=""), LoginEffect.REFUSED),
        (running(SessionState.FAILED), LoginEffect.REFUSED),
        (replace(STOPPED, desired=DesiredState.PAUSED, state=SessionState.PAUSED), LoginEffect.RESUME),
        (replace(STOPPED, desired=DesiredState.PAUSED, state=SessionState.RUNNING), LoginEffect.RESUME),
        (replace(STOPPED, desired=DesiredState.PAUSED, state=SessionState.STOPPED), LoginEffect.REFUSED),
        (replace(STOPPED, desired=DesiredState.DELETED), LoginEffect.REFUSED),
        (replace(STOPPED, desired=DesiredState.DELETED, state=SessionState.RUNNING), LoginEffect.REFUSED),
    ],
)
def test_an_explicit_stop_holds_and_others_do_not(session: Session, effect: LoginEffect) -> None:
    assert effect_of_login(session) is effect


@pytest.mark.parametrize(
    ("effect", "kinds"),
    [
        (LoginEffect.NONE, ()),
        (LoginEffect.WAIT, ()),
        (LoginEffect.REFUSED, ()),
        (LoginEffect.RESUME, tuple(LoginKind)),
        (LoginEffect.START, tuple(LoginKind)),
        (LoginEffect.TERMINAL, (LoginKind.TERMINAL, LoginKind.ASKED)),
        (LoginEffect.ASKED, (LoginKind.ASKED,)),
    ],
)
def test_which_logins_wake(effect: LoginEffect, kinds: tuple[LoginKind, ...]) -> None:
    assert tuple(kind for kind in LoginKind if starts(effect, kind)) == kinds


@pytest.mark.parametrize(
    ("cause", "kind", "minutes", "before", "after"),
    [
        (ChangeCause.PERSON, LoginKind.PLAIN, 1, 0, 1),
        (ChangeCause.PERSON, LoginKind.PLAIN, 10, 1, 2),
        (ChangeCause.PERSON, LoginKind.PLAIN, 11, 1, 0),
        (ChangeCause.PERSON, LoginKind.TERMINAL, 1, 2, 0),
        (ChangeCause.PERSON, LoginKind.ASKED, 1, 2, 0),
        (ChangeCause.IDLE, LoginKind.PLAIN, 1, 1, 1),
    ],
)
def test_stops_that_programs_undo_are_counted(
    cause: ChangeCause, kind: LoginKind, minutes: int, before: int, after: int
) -> None:
    stopped = replace(stopped_by(cause, ALWAYS), robot_wakes=before, desired_time=NOW)
    assert woken_by(stopped, kind, NOW + timedelta(minutes=minutes)).robot_wakes == after
