"""Messages between runner and control plane come twice, late and in another order: the end is that of a clean run.

The services are real, on a real SQLite store. The runner is a model of one: it takes the newest assignment that it
heard of each session, does what that says step by step, and reports each step; on each connection it tells its latest
reports again, as runner/report_outbox.py does.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.adapters.store import open_store
from netvps.domain.runner.runner import CaughtUp
from netvps.domain.session.session import Assignment, DesiredState, Session, SessionReport, SessionState, SnapshotImage
from netvps.errors import NotFound, WrongState
from netvps.services.sessions.assignments import follow
from netvps.tasks import Tasks
from tests.fakes.clock import FakeClock
from tests.fakes.world import ALICE, HELLO, World

if TYPE_CHECKING:
    from random import Random

pytestmark = pytest.mark.slow

Verb = Literal["stop", "start", "delete", "hear", "report", "reconnect"]
Event = tuple[Verb, str]
CHANGES: tuple[Verb, ...] = ("stop", "start", "start", "stop", "delete")
NAMES = ("a", "b", "c")
STOPPED = DesiredState.STOPPED
_STATES = {
    DesiredState.RUNNING: (SessionState.PREPARING, SessionState.STARTING, SessionState.RUNNING),
    DesiredState.STOPPED: (SessionState.STOPPING, SessionState.STOPPED),
    DesiredState.DELETED: (SessionState.DELETED,),
}


M = TypeVar("M", Assignment, SessionReport)


@dataclass
class ModelRunner:
    """What it heard, and what it said of it last."""

    known: dict[str, Assignment] = field(default_factory=dict)
    latest: dict[str, SessionReport] = field(default_factory=dict)

    def hear(self, assignment: Assignment) -> list[SessionReport]:
        """The reports that come of an assignment; none of an older one."""
        known = self.known.get(assignment.session_uid)
        if known and (assignment.epoch, assignment.generation) <= (known.epoch, known.generation):
            return []
        self.known[assignment.session_uid] = assignment
        reports = [self._report(assignment, state) for state in _STATES[assignment.desired]]
        self.latest[assignment.session_uid] = reports[-1]
        return reports

    def _report(self, assignment: Assignment, state: SessionState) -> SessionReport:
        """A snapshot is reported with STOPPED; each has the number of its stop."""
        report = SessionReport(assignment.session_uid, assignment.epoch, assignment.generation, state, address="")
        if state is not SessionState.STOPPED:
            return report
        image = f"netvps-snapshot/vps-{assignment.session_uid}:{assignment.generation}"
        taken = SnapshotImage(
            f"s{assignment.generation}", assignment.session_uid, image, f"sha256:{assignment.generation}", 1, 1, "lab",
            assignment.generation, FakeClock()(),
        )  # fmt: skip
        return replace(report, snapshot=taken)


class Run:
    """One run of a script; with `chance`, the messages of both directions are at its mercy."""

    def __init__(self, world: World, chance: Random | None) -> None:
        self.world = world
        self.chance = chance
        self.runner = ModelRunner()
        self.down: list[Assignment] = []
        self.up: list[SessionReport] = []
        self.seen: list[Assignment] = []
        """All assignments that ever were on their way."""
        self.said: list[SessionReport] = []
        """All reports that ever were."""

    async def begin(self) -> None:
        await self.world.populate()
        self.uid = (await self.world.runner("lab")).uid
        for name in NAMES:
            await self.world.session(name)

    async def do(self, event: Event) -> None:
        match event:
            case ("stop" | "start" | "delete" as verb, name):
                with suppress(NotFound, WrongState):  # it is gone, or going
                    await getattr(self.world.sessions, verb)(ALICE, name)
            case ("hear", _):
                await self.tell()
                self.listen(some=True)
            case ("report", _):
                await self.report(some=True)
            case _:
                await self.reconnect()

    async def settle(self) -> None:
        """All that is on its way arrives; then a connection that is clean, until there is no more news."""
        self.listen(some=False)
        await self.report(some=False)
        self.chance = None
        for _ in range(4):
            await self.reconnect()
            self.listen(some=False)
            await self.report(some=False)

    async def hear_the_past_again(self) -> None:
        """Reports of generations that are over, much too late."""
        generations = {row.uid: row.generation for row in await self.world.rows(Session)}
        for report in self.said:
            if report.generation < generations.get(report.session_uid, 1 << 30):
                await self.world.runners.report(self.uid, report)

    async def end(self) -> dict[str, tuple[str, ...]]:
        """The state of each session. Which snapshot a running one began with, is for chance to decide: a stop that
        its runner did not hear of before the next start left none."""
        rows = await self.world.rows(Session)
        return {
            row.name: (
                str(row.desired),
                str(row.state),
                str(row.generation),
                row.snapshot.image.rpartition(":")[2] if row.snapshot and row.desired is STOPPED else "",
            )
            for row in rows
        }

    async def reconnect(self) -> None:
        """Old messages may still come after the first of the new connection."""
        await self.world.runners.online(self.uid, HELLO)
        await self.tell()
        self.up += self.runner.latest.values()

    async def tell(self) -> None:
        """The present list is sent; with chance, so do older ones again."""
        async with aclosing(follow(self.world.store, self.world.feed, self.uid)) as assignments:
            async for item in assignments:
                if isinstance(item, CaughtUp):
                    break
                assert isinstance(item, Assignment)
                self.down.append(item)
                self.seen.append(item)
        if self.chance:
            self.down += self.chance.sample(self.seen, min(len(self.seen), 2))

    def listen(self, *, some: bool) -> None:
        for assignment in self._arriving(self.down, some=some):
            news = self.runner.hear(assignment)
            self.up += news
            self.said += news

    async def report(self, *, some: bool) -> None:
        for report in self._arriving(self.up, some=some):
            await self.world.runners.report(self.uid, report)

    def _arriving(self, on_their_way: list[M], *, some: bool) -> list[M]:
        """What arrives now. Clean: all, in order; else any part of it, in any order, and some of it again later."""
        if self.chance is None:
            arrived, on_their_way[:] = list(on_their_way), []
            return arrived
        self.chance.shuffle(on_their_way)
        number = self.chance.randint(0, len(on_their_way)) if some else len(on_their_way)
        arrived, on_their_way[:] = on_their_way[:number], on_their_way[number:]
        if some:
            on_their_way += [message for message in arrived if self.chance.random() < 0.3]
        return arrived


events = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(CHANGES), st.sampled_from(NAMES)),
        st.tuples(st.sampled_from(("hear", "report", "reconnect")), st.just("")),
    ),
    max_size=25,
)


@settings(max_examples=12, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_the_end_is_that_of_a_clean_run(script: list[Event], chance: Random) -> None:
    clean: list[Event] = []
    for event in script:  # each message arrives at once, after each thing that a person asks for
        clean += [event, ("hear", ""), ("report", "")] if event[0] in CHANGES else []
    expected = asyncio.run(_end_of(clean, None))
    assert asyncio.run(_end_of(script, chance)) == expected


async def _end_of(script: list[Event], chance: Random | None) -> dict[str, tuple[str, ...]]:
    clock = FakeClock()
    with TemporaryDirectory() as folder:
        async with open_store(f"sqlite:///{Path(folder)}/store.db", clock) as store, Tasks() as tasks:
            world = World(store, clock)
            tasks.start(world.feed.run(), name="feed")
            run = Run(world, chance)
            await run.begin()
            for event in script:
                await run.do(event)
            await run.settle()
            end = await run.end()
            await run.hear_the_past_again()
            assert await run.end() == end
            return end
