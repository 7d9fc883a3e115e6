"""What a session may ask for about itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.policy import SleepPolicy
from netvps.domain.snapshot.snapshot import Snapshot
from netvps.domain.tunnel import Activity, SelfService, SelfServiceKind
from netvps.errors import Exhausted, InvalidInput, NotFound, WrongState
from netvps.services.sleep.self_service import AT_ONCE
from tests.fakes.world import ALICE

if TYPE_CHECKING:
    from tests.fakes.world import World

KEEP, STATUS = SelfServiceKind.KEEP, SelfServiceKind.STATUS
HOUR = 3600.0


async def running(world: World, **policy: float) -> Session:
    await world.runner()
    session = await world.session(spec=SessionSpec(sleep=SleepPolicy(**policy)))  # type: ignore[arg-type]
    session = await world.reported(session, SessionState.RUNNING)
    world.self_services.connected(session.uid)
    world.self_services.report(session.uid, Activity(0, 0, None, cpus=0.0))
    return session


async def ask(world: World, session: Session, kind: SelfServiceKind, seconds: float = 0.0) -> str:
    return await world.self_services.serve(session.uid, session.epoch, SelfService("1", kind, seconds))


async def test_a_lease_keeps_it_awake_and_ends_when_asked(world: World) -> None:
    session = await running(world, stop_after=HOUR)
    until = world.clock.now + timedelta(hours=2)
    assert await ask(world, session, KEEP, 2 * HOUR) == f"kept awake until {until:%Y-%m-%d %H:%M:%S} UTC"
    assert (await world.idle_rules.plan(ALICE, "dev1")).stop_time == until
    assert "no lease any more" in await ask(world, session, KEEP, 0)
    stored = await world.row(Session, session.uid)
    assert stored is not None
    assert stored.kept_until is None


async def test_a_lease_says_what_it_does_not_delay(world: World) -> None:
    session = await running(world, stop_after=HOUR, lifetime=2 * HOUR)
    said = await ask(world, session, KEEP, 10 * HOUR)
    assert "because its lifetime is over then" in said
    assert said.endswith("a lease does not change that")


@pytest.mark.parametrize("seconds", [1.0, 86_401.0, -5.0, float("inf")])
async def test_leases_have_limits(world: World, seconds: float) -> None:
    session = await running(world, stop_after=HOUR)
    with pytest.raises(InvalidInput, match="not between 1 minute and 24 hours"):
        await ask(world, session, KEEP, seconds)


async def test_it_can_put_itself_to_sleep_and_any_login_wakes_it(world: World) -> None:
    session = await running(world)
    assert "next login" in await ask(world, session, SelfServiceKind.SLEEP)
    stopped = await world.row(Session, session.uid)
    assert stopped is not None
    assert (stopped.desired, stopped.desired_by) == (DesiredState.STOPPED, Author(cause=ChangeCause.IDLE))
    with pytest.raises(WrongState, match="about to be stopped"):
        await ask(world, session, KEEP, HOUR)


async def test_it_can_take_snapshots_within_its_owners_limits(world: World) -> None:
    session = await running(world)
    assert "is being taken" in await ask(world, session, SelfServiceKind.SNAPSHOT)
    assert [(one.session, one.owner) for one in await world.rows(Snapshot)] == [(session.uid, "alice")]
    for _ in range(4):
        world.clock.advance(minutes=1)
        await ask(world, session, SelfServiceKind.SNAPSHOT)
    with pytest.raises(Exhausted, match="limit"):
        await ask(world, session, SelfServiceKind.SNAPSHOT)


async def test_it_can_see_what_keeps_it_awake(world: World) -> None:
    session = await running(world, stop_after=HOUR)
    assert (await ask(world, session, STATUS)).startswith("stops at 2026-05-04 04:02:01 UTC")
    world.self_services.disconnected(session.uid)
    assert "active or not known: AGENT" in await ask(world, session, STATUS)


async def test_an_agent_of_an_earlier_placement_changes_nothing(world: World) -> None:
    session = await running(world)
    for kind in SelfServiceKind:
        with pytest.raises(NotFound):
            await ask(world, replace(session, epoch=session.epoch - 1), kind, HOUR)
    assert await world.row(Session, session.uid) == session


async def test_a_session_that_asks_all_the_time_has_to_wait(world: World) -> None:
    session = await running(world)
    for _ in range(AT_ONCE):
        await ask(world, session, STATUS)
    with pytest.raises(Exhausted, match="wait ten seconds"):
        await ask(world, session, STATUS)
    world.clock.advance(seconds=10)
    await ask(world, session, STATUS)
