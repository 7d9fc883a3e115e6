"""Sessions and runners together, in any order of events: people, and runners that are slow, repeat, reorder and lie."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from netvps.domain.session.lifecycle import assignment, settled
from netvps.domain.session.session import DesiredState, Session, SessionReport, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import AlreadyExists, NotFound, WrongState
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import ALICE, BOB, HELLO, World

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from netvps.domain.access.accounts import Caller
    from netvps.domain.session.session import Assignment

T = TypeVar("T")
GOAL = {
    DesiredState.RUNNING: SessionState.RUNNING,
    DesiredState.STOPPED: SessionState.STOPPED,
    DesiredState.DELETED: SessionState.DELETED,
}
callers = st.sampled_from([ALICE, BOB])
names = st.sampled_from(["a", "b", "c"])
numbers = st.integers(0, 5)
claims = st.sampled_from([SessionState.DELETED, SessionState.DELETED, *SessionState])
near = st.sampled_from([-1, 0, 0, 1])
request_ids = st.sampled_from(["", "", "r1", "r2"])


class SessionsAndRunners(RuleBasedStateMachine):
    """What was acknowledged must hold at every moment, and come about in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.world = World(self.store, self.clock)
        self.run(self.world.populate())
        self.runners: list[str] = []
        self.known: dict[str, list[Assignment]] = {}  # what each runner heard last: it may be old
        self.mail: list[tuple[str, SessionReport]] = []  # reports on their way
        self.created: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.answers: dict[tuple[str, ...], str] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def teardown(self) -> None:
        try:
            self.everything_heals()
        finally:
            self.loop.close()

    @rule(caller=callers, name=names, request_id=request_ids)
    def create(self, caller: Caller, name: str, request_id: str) -> None:
        key = (caller.user, request_id)
        create = self.world.sessions.create(
            caller, session_id=name, owner="", spec=SessionSpec(), request_id=request_id
        )
        try:
            session = self.run(create)
        except AlreadyExists:
            taken = {(row.owner, row.name) for row in self.rows()}
            assert (caller.user, name) in taken or key in self.answers
            return
        if request_id:
            assert self.answers.setdefault(key, session.uid) == session.uid
        self.created[session.uid] = str(session.full_name)

    @rule(caller=callers, name=names, verb=st.sampled_from(["stop", "start", "delete"]))
    def change(self, caller: Caller, name: str, verb: str) -> None:
        there = {(row.owner, row.name): row for row in self.rows()}
        try:
            session = self.run(getattr(self.world.sessions, verb)(caller, name))
        except NotFound:
            assert (caller.user, name) not in there
        except WrongState:
            assert there[caller.user, name].desired is DesiredState.DELETED
            assert verb != "delete"
        else:
            if verb == "delete":
                self.deleted.add(session.uid)

    @precondition(lambda self: len(self.runners) < 3)
    @rule(online=st.booleans())
    def join(self, online: bool) -> None:
        runner = self.run(self.world.runner("lab", online=online))
        self.runners.append(runner.uid)

    @precondition(lambda self: self.runners)
    @rule(number=numbers, online=st.booleans())
    def come_or_go(self, number: int, online: bool) -> None:
        uid = self.runners[number % len(self.runners)]
        self.run(self.online(uid) if online else self.world.runners.offline(uid))

    @precondition(lambda self: self.runners)
    @rule(number=numbers)
    def hear(self, number: int) -> None:
        uid = self.runners[number % len(self.runners)]
        self.known[uid] = [assignment(row) for row in self.rows() if row.runner == uid]

    @precondition(lambda self: any(self.known.values()))
    @rule(number=numbers, state=st.sampled_from(list(SessionState)), done=st.booleans())
    def work(self, number: int, state: SessionState, done: bool) -> None:
        """A runner works on what it heard, perhaps long ago, and posts a report."""
        tasks = [(uid, task) for uid, tasks in self.known.items() for task in tasks]
        uid, task = tasks[number % len(tasks)]
        seen = GOAL[task.desired] if done else state
        self.mail.append((uid, SessionReport(task.session_uid, task.epoch, task.generation, seen)))

    @precondition(lambda self: self.mail)
    @rule(number=numbers, again=st.booleans())
    def deliver(self, number: int, again: bool) -> None:
        """Any report arrives, and may arrive again later."""
        index = number % len(self.mail)
        uid, report = self.mail[index] if again else self.mail.pop(index)
        self.run(self.world.runners.report(uid, report))

    @precondition(lambda self: self.runners and self.rows())
    @rule(number=numbers, own=st.booleans(), epoch=near, generation=near, state=claims)
    def lie(self, number: int, own: bool, epoch: int, generation: int, state: SessionState) -> None:
        """Of its own sessions or of others, about any placement and generation, any runner claims anything."""
        rows = self.rows()
        row = rows[number % len(rows)]
        uid = (own and row.runner) or self.runners[number % len(self.runners)]
        report = SessionReport(row.uid, row.epoch + epoch, row.generation + generation, state)
        self.run(self.world.runners.report(uid, report))
        after = {session.uid: session for session in self.rows()}.get(row.uid)
        assert after == row or (uid, epoch) == (row.runner, 0), "a stranger or a report of the past was believed"

    @invariant()
    def no_name_is_given_twice(self) -> None:
        full = [(row.owner, row.name) for row in self.rows()]
        assert len(full) == len(set(full))

    @invariant()
    def what_was_acknowledged_holds(self) -> None:
        rows = {row.uid: row for row in self.rows()}
        assert rows.keys() <= self.created.keys()
        assert self.created.keys() - rows.keys() <= self.deleted  # no report, true or false, ends a session
        assert all(rows[uid].desired is DesiredState.DELETED for uid in self.deleted & rows.keys())
        assert all(row.state is not SessionState.DELETED for row in rows.values())

    @invariant()
    def the_log_grows_and_each_placement_is_one_runners(self) -> None:
        revisions = [change.revision for change in self.store.log]
        assert revisions == list(range(1, len(revisions) + 1))
        placements: dict[tuple[str, int], str] = {}
        last: dict[str, Session] = {}
        for change in self.store.log:
            session = change.resource
            if not isinstance(session, Session):
                continue
            assert placements.setdefault((session.uid, session.epoch), session.runner) == session.runner
            before = last.get(session.uid, session)
            assert (session.epoch, session.generation) >= (before.epoch, before.generation)
            assert session.observed_generation <= session.generation
            last[session.uid] = session

    def everything_heals(self) -> None:
        """Once all runners are there and honest, everything comes about as it was wanted."""
        if not self.runners:
            self.join(online=True)
        for uid in self.runners:
            self.run(self.online(uid))
        for row in self.rows():
            if row.runner:
                self.run(self.world.reported(row, GOAL[row.desired]))
        for row in self.rows():
            assert settled(row), row
            assert row.state is GOAL[row.desired]
        assert not self.deleted & {row.uid for row in self.rows()}

    async def online(self, uid: str) -> None:
        welcome = await self.world.runners.online(uid, HELLO)
        assert welcome.lease.runner == uid

    def rows(self) -> list[Session]:
        return self.run(self.world.rows(Session))


TestSessionsAndRunners = SessionsAndRunners.TestCase
TestSessionsAndRunners.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
