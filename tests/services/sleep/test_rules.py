"""Sessions that are put to sleep by their rules, and agents that learn of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.idle import SignalKind, SleepAction
from netvps.domain.sleep.policy import DEFAULT_CPU_FLOOR, SleepDefaults, SleepPolicy
from netvps.domain.sleep.waking import LoginEffect, LoginKind, effect_of_login
from netvps.domain.tunnel import Activity, SleepNotice
from netvps.errors import NotFound
from netvps.services.sleep.rules import LONGEST_PAUSE, IdleRules
from netvps.tasks import Tasks
from tests.fakes.counting import CountingStore
from tests.fakes.world import ALICE, BOB, HELLO
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.fakes.world import World

MINUTE, HOUR = 60.0, 3600.0
QUIET = Activity(0, 0, None, cpus=0.0)


class Agents:
    """Takes notices, as agents do that are connected."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, SleepNotice]] = []

    def __call__(self, uid: str, notice: SleepNotice) -> bool:
        self.notices.append((uid, notice))
        return True

    @property
    def warnings(self) -> list[str]:
        return [notice.warning for _, notice in self.notices if notice.warning]


async def running(world: World, policy: SleepPolicy, name: str = "dev1") -> Session:
    """A session that runs, with an agent that reports that nothing goes on."""
    await world.runner()
    session = await world.session(name, spec=SessionSpec(sleep=policy))
    session = await world.reported(session, SessionState.RUNNING)
    world.idle_rules.connected(session.uid)
    world.idle_rules.report(session.uid, QUIET)
    return session


def later(world: World, session: Session, **by: float) -> None:
    """Time passes, in which the agent repeats its last report."""
    world.clock.advance(**by)
    known = world.idle_rules._activity[session.uid]
    assert known is not None
    world.idle_rules.report(session.uid, known[0])


async def test_a_change_that_makes_something_due_brings_the_next_look_forward(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.services.sleep.rules._SHORTEST_PAUSE", 0.0)
    session = await running(world, SleepPolicy(stop_after=30))
    await world.idle_rules._keep_informing(Agents(), world.clock() + timedelta(seconds=LONGEST_PAUSE))
    world.idle_rules.changed(session.uid)
    with pytest.raises(TimeoutError):  # nothing is due before that look
        async with asyncio.timeout(0.05):
            await world.idle_rules._keep_informing(Agents(), world.clock() + timedelta(seconds=10))


async def test_an_idle_session_is_paused_then_stopped_and_any_login_wakes_it(world: World) -> None:
    session = await running(world, SleepPolicy(10 * MINUTE, 30 * MINUTE))
    agents = Agents()
    assert await world.idle_rules.apply(agents) == LONGEST_PAUSE
    later(world, session, seconds=599)
    assert await world.idle_rules.apply(agents) == 1
    later(world, session, seconds=1)
    await world.idle_rules.apply(agents)
    paused = await world.row(Session, session.uid)
    assert paused is not None
    assert (paused.desired, paused.desired_by) == (DesiredState.PAUSED, Author(cause=ChangeCause.IDLE))
    await world.reported(session, SessionState.PAUSED)
    world.idle_rules.disconnected(session.uid)  # a frozen agent answers nothing
    world.clock.advance(minutes=20)
    await world.idle_rules.apply(agents)
    stopped = await world.row(Session, session.uid)
    assert stopped is not None
    assert (stopped.desired, stopped.stopped_by.cause) == (DesiredState.STOPPED, ChangeCause.IDLE)
    assert effect_of_login(await world.reported(session, SessionState.STOPPED)) is LoginEffect.START


async def test_reports_of_the_agent_delay_it(world: World) -> None:
    session = await running(world, SleepPolicy(stop_after=10 * MINUTE))
    world.clock.advance(minutes=9)
    world.idle_rules.report(session.uid, replace(QUIET, last_byte_time=world.clock.now))
    later(world, session, minutes=9)
    await world.idle_rules.apply(Agents())
    assert (await world.sessions.get(ALICE, "dev1")).desired is DesiredState.RUNNING
    later(world, session, minutes=1)
    await world.idle_rules.apply(Agents())
    assert (await world.sessions.get(ALICE, "dev1")).desired is DesiredState.STOPPED


async def test_an_agent_that_is_not_connected_or_silent_counts_as_active(world: World) -> None:
    session = await running(world, SleepPolicy(stop_after=MINUTE))
    for forget in (world.idle_rules.disconnected, world.idle_rules.connected):
        forget(session.uid)
        world.clock.advance(hours=9)
        await world.idle_rules.apply(Agents())
        plan = await world.idle_rules.plan(ALICE, "dev1")
        assert (plan.action, plan.reason) == (SleepAction.NONE, "active or not known: AGENT")


async def test_a_report_counts_while_the_agent_repeats_it(world: World) -> None:
    session = await running(world, SleepPolicy(stop_after=MINUTE))
    world.clock.advance(seconds=151)
    assert (await world.idle_rules.plan(ALICE, "dev1")).reason == "active or not known: AGENT"
    later(world, session)
    assert (await world.idle_rules.plan(ALICE, "dev1")).action is SleepAction.STOP


async def test_another_server_without_the_agent_stops_by_lifetime_and_hours_only(world: World) -> None:
    await running(world, SleepPolicy(stop_after=MINUTE, lifetime=HOUR))
    other = IdleRules(world.store, world.clock, SleepDefaults())
    world.clock.advance(minutes=59)
    await other.apply(Agents())
    assert (await world.sessions.get(ALICE, "dev1")).desired is DesiredState.RUNNING
    world.clock.advance(minutes=1)
    await asyncio.gather(other.apply(Agents()), world.idle_rules.apply(Agents()))
    stopped = await world.sessions.get(ALICE, "dev1")
    assert (stopped.desired, stopped.generation) == (DesiredState.STOPPED, 2)


async def test_a_change_of_the_policy_counts_at_once_and_a_wake_starts_the_time_again(world: World) -> None:
    session = await running(world, SleepPolicy(0.0, 0.0))
    later(world, session, hours=2)
    await world.idle_rules.apply(Agents())
    assert (await world.sessions.get(ALICE, "dev1")).desired is DesiredState.RUNNING
    await world.sessions.update(ALICE, "dev1", SessionSpec(sleep=SleepPolicy(stop_after=HOUR)), ["sleep"])
    await world.idle_rules.apply(Agents())
    assert (await world.sessions.get(ALICE, "dev1")).desired is DesiredState.STOPPED
    await world.reported(session, SessionState.STOPPED)
    await world.logins.wake(session.uid, "alice", LoginKind.PLAIN)
    await world.reported(session, SessionState.RUNNING)
    plan = await world.idle_rules.plan(ALICE, "dev1")
    assert plan.stop_time == world.clock.now.replace(hour=world.clock.now.hour + 1)


async def test_terminals_are_warned_once_before_each_stop(world: World) -> None:
    session = await running(world, SleepPolicy(stop_after=HOUR))
    agents = Agents()
    later(world, session, minutes=55)
    await world.idle_rules.apply(agents)
    await world.idle_rules.apply(agents)
    assert len(agents.warnings) == 1
    assert agents.warnings[0].startswith("netvps: this session stops in 5m")
    world.idle_rules.report(session.uid, replace(QUIET, last_input_time=world.clock.now))
    later(world, session, minutes=55)
    await world.idle_rules.apply(agents)
    assert len(agents.warnings) == 2


async def test_the_greeting_is_sent_when_it_is_new(world: World) -> None:
    session = await running(world, SleepPolicy(stop_after=HOUR))
    silent = await world.session("quiet")
    await world.reported(silent, SessionState.RUNNING)
    world.idle_rules.connected(silent.uid)
    agents = Agents()
    for _ in range(2):
        await world.idle_rules.apply(agents)
    assert [(uid, "stops after 1h" in notice.greeting) for uid, notice in agents.notices] == [(session.uid, True)]
    world.idle_rules.connected(session.uid)
    await world.idle_rules.apply(agents)
    assert len(agents.notices) == 2


async def test_sessions_without_a_rule_are_not_read(world: World) -> None:
    session = await running(world, SleepPolicy(stop_after=HOUR))
    for number in range(9):
        other = await world.session(f"other{number}", spec=SessionSpec(sleep=SleepPolicy(0.0, 0.0)))
        await world.reported(other, SessionState.RUNNING)
        world.idle_rules.connected(other.uid)
    store, agents = CountingStore(world.store), Agents()
    rules = IdleRules(store, world.clock, SleepDefaults())
    rules.connected(session.uid)
    for _ in range(2):
        await rules.apply(agents)
    assert (store.rows, len(agents.notices)) == (2, 1)
    await IdleRules(store, world.clock, SleepDefaults(stop_after=HOUR)).apply(agents)
    assert store.rows == 12


async def test_an_agent_learns_that_its_rule_is_gone(world: World) -> None:
    session = await running(world, SleepPolicy(stop_after=HOUR, cpu_floor=1.0))
    agents = Agents()
    await world.idle_rules.apply(agents)
    await world.sessions.update(ALICE, "dev1", SessionSpec(), ["sleep"])
    for _ in range(2):
        await world.idle_rules.apply(agents)
    assert agents.notices[1:] == [(session.uid, SleepNotice("", cpu_floor=DEFAULT_CPU_FLOOR))]


async def test_a_runner_that_cannot_pause_keeps_it_running_until_the_stop(world: World) -> None:
    await world.runner(hello=replace(HELLO, capabilities=()))
    session = await world.session(spec=SessionSpec(sleep=SleepPolicy(MINUTE, HOUR)))
    await world.reported(session, SessionState.RUNNING)
    world.idle_rules.connected(session.uid)
    world.idle_rules.report(session.uid, QUIET)
    later(world, session, minutes=30)
    for _ in range(2):
        await world.idle_rules.apply(Agents())
    assert (await world.sessions.get(ALICE, "dev1")).desired is DesiredState.RUNNING
    later(world, session, minutes=30)
    await world.idle_rules.apply(Agents())
    assert (await world.sessions.get(ALICE, "dev1")).desired is DesiredState.STOPPED


async def test_the_plan_is_for_those_who_see_the_session(world: World) -> None:
    session = await running(world, SleepPolicy(stop_after=HOUR))
    world.idle_rules.running_commands = lambda uid: 2 * (uid == session.uid)
    plan = await world.idle_rules.plan(ALICE, "dev1")
    assert [signal.count for signal in plan.signals if signal.kind is SignalKind.TASK] == [2]
    with pytest.raises(NotFound):
        await world.idle_rules.plan(BOB, "dev1.alice")


async def test_what_is_due_is_done_while_it_runs(world: World) -> None:
    session = await running(world, SleepPolicy(stop_after=HOUR))
    later(world, session, hours=2)
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(world.idle_rules.run(Agents()), name="idle rules")
        while (await world.sessions.get(ALICE, "dev1")).desired is not DesiredState.STOPPED:
            await asyncio.sleep(0.01)


async def test_an_agent_that_connects_is_informed_before_the_next_look_at_all_sessions(world: World) -> None:
    agents = Agents()
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(world.idle_rules.run(agents), name="idle rules")
        await asyncio.sleep(0)
        session = await running(world, SleepPolicy(stop_after=HOUR))
        while not agents.notices:
            await asyncio.sleep(0.01)
        assert agents.notices[0][0] == session.uid
