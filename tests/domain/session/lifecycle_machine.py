"""A session under wishes, updates, placements, losses and reports, in any order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from netvps.domain.names import SessionName
from netvps.domain.runner.runner import Runner
from netvps.domain.session.lifecycle import (
    ENDED,
    PAUSE_FAILED,
    RESIZE_REFUSED,
    SNAPSHOT_FAILED,
    lose,
    new_session,
    observe,
    pause,
    place,
    rename,
    resume,
    set_desired,
    settled,
    update,
)
from netvps.domain.session.limits import Limits
from netvps.domain.session.session import DesiredState, Session, SessionReport, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import WrongState

T0 = datetime(2026, 5, 4, tzinfo=UTC)
RUNNER = Runner("runner1", "lab1", T0, T0)
NEW = new_session("uid", SessionName("alice", "dev1"), SessionSpec(image="debian"), T0)
GOAL = {
    DesiredState.RUNNING: SessionState.RUNNING,
    DesiredState.STOPPED: SessionState.STOPPED,
    DesiredState.DELETED: SessionState.DELETED,
    DesiredState.PAUSED: SessionState.PAUSED,
}
REASONS = ["", "image", SNAPSHOT_FAILED, PAUSE_FAILED, RESIZE_REFUSED, ENDED]


def _report(session: Session, state: SessionState, reason: str) -> SessionReport:
    return SessionReport(session.uid, session.epoch, session.generation, state, reason)


class Lifecycle(RuleBasedStateMachine):
    """Wishes, updates, placements, losses and reports, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.session = NEW
        self.before = NEW
        self.posted: list[SessionReport] = []
        self.wishes: dict[int, DesiredState] = {1: DesiredState.RUNNING}
        self.limits = {NEW.spec.limits}
        """All that were ever asked for."""

    def _become(self, after: Session) -> None:
        self.before, self.session = self.session, after
        self.wishes.setdefault(after.generation, after.desired)

    @rule(desired=st.sampled_from(list(DesiredState)))
    def wish(self, desired: DesiredState) -> None:
        try:
            if desired is DesiredState.PAUSED:
                self._become(pause(self.session, self.now))
            else:
                self._become(set_desired(self.session, desired, self.now))
        except WrongState:
            assert desired is DesiredState.PAUSED or self.session.desired is DesiredState.DELETED

    @rule()
    def wake(self) -> None:
        try:
            self._become(resume(self.session, self.now))
        except WrongState:
            assert self.session.desired in {DesiredState.STOPPED, DesiredState.DELETED}

    @precondition(lambda self: self.session.desired is not DesiredState.DELETED)
    @rule(cpus=st.integers(0, 4), name=st.sampled_from(["dev1", "web"]))
    def change(self, cpus: int, name: str) -> None:
        after = update(self.session, replace(self.session.spec, cpus=float(cpus)), self.now)
        self._become(rename(after, name, self.now))
        self.limits.add(Limits(float(cpus), 0, NEW.spec.pids))

    @precondition(lambda self: self.session.desired is DesiredState.RUNNING)
    @rule()
    def move(self) -> None:
        self._become(place(self.session, RUNNER, self.now))

    @precondition(lambda self: self.session.runner)
    @rule()
    def silence(self) -> None:
        self._become(lose(self.session, self.now))

    @rule(state=st.sampled_from(list(SessionState)), reason=st.sampled_from(REASONS))
    def post(self, state: SessionState, reason: str) -> None:
        state = SessionState.STOPPED if reason == ENDED else state
        self.posted.append(_report(self.session, state, reason))

    @precondition(lambda self: self.posted)
    @rule(number=st.integers(0, 9), seconds=st.integers(0, 60))
    def arrive(self, number: int, seconds: int) -> None:
        """Any report that was ever posted, and so perhaps for the third time."""
        self.now += timedelta(seconds=seconds)
        report = self.posted[number % len(self.posted)]
        self._become(observe(self.session, report, self.now))
        if self.session is not self.before:
            assert report.epoch == self.session.epoch
            assert report.generation == self.session.observed_generation - (report.reason == ENDED) or (
                report.generation == self.session.observed_generation
            )

    @invariant()
    def nothing_goes_back(self) -> None:
        before, after = self.before, self.session
        assert after.epoch >= before.epoch
        assert after.generation >= before.generation
        assert after.epoch > before.epoch or after.observed_generation >= before.observed_generation
        assert after.observed_generation <= after.generation

    @invariant()
    def each_generation_is_one_wish(self) -> None:
        assert self.wishes[self.session.generation] is self.session.desired

    @invariant()
    def settled_means_reached_or_failed(self) -> None:
        session = self.session
        if settled(session):
            assert session.observed_generation == session.generation
            failed = session.state is SessionState.FAILED or session.reason in {SNAPSHOT_FAILED, PAUSE_FAILED}
            assert failed or session.state is GOAL[session.desired]

    @invariant()
    def its_limits_were_asked_for(self) -> None:
        assert self.session.spec.limits in self.limits

    @invariant()
    def only_its_owner_ends_a_session(self) -> None:
        if self.session.state is SessionState.DELETED:
            assert self.session.desired is DesiredState.DELETED
