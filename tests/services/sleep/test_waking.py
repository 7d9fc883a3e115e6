"""Logins that wake a session: one transaction, by the rule of who stopped it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.policy import WakePolicy
from netvps.domain.sleep.waking import LoginEffect, LoginKind
from netvps.errors import NotFound, Unavailable, WrongState
from tests.fakes.world import ALICE

if TYPE_CHECKING:
    from tests.fakes.world import World


async def _stopped(world: World, cause: ChangeCause) -> Session:
    await world.runner()
    session = await world.session()
    await world.sessions.stop(ALICE, "dev1", cause=cause)
    return await world.reported(session, SessionState.STOPPED)


async def test_however_many_log_in_one_starts_it(world: World) -> None:
    session = await _stopped(world, ChangeCause.IDLE)
    await asyncio.gather(*(world.logins.wake(session.uid, "bob", LoginKind.PLAIN) for _ in range(20)))
    woken = await world.sessions.get(ALICE, "dev1")
    assert (woken.desired, woken.generation) == (DesiredState.RUNNING, session.generation + 1)
    assert woken.desired_by == Author("bob", ChangeCause.LOGIN)


async def test_what_a_person_stopped_stays_stopped_for_a_plain_login(world: World) -> None:
    session = await _stopped(world, ChangeCause.PERSON)
    with pytest.raises(WrongState, match="it is STOPPED, and such a login does not start it"):
        await world.logins.wake(session.uid, "alice", LoginKind.PLAIN)
    assert await world.row(Session, session.uid) == session
    await world.logins.wake(session.uid, "alice", LoginKind.TERMINAL)
    assert (await world.logins.look(session.uid)).effect == "WAIT"


async def test_a_runner_that_is_offline_and_a_session_that_is_gone_are_explained(world: World) -> None:
    session = await _stopped(world, ChangeCause.PERSON)
    await world.runners.offline(session.runner)
    with pytest.raises(Unavailable, match="it is stopped, and its runner lab1 is offline"):
        await world.logins.wake(session.uid, "alice", LoginKind.ASKED)
    await world.logins.wake("0000000000000", "alice", LoginKind.PLAIN)
    with pytest.raises(NotFound):
        await world.logins.look("0000000000000")


async def test_a_program_that_undoes_two_stops_is_refused_until_a_person_starts_it(world: World) -> None:
    await world.runner()
    session = await world.session(spec=SessionSpec(wake=WakePolicy.ALWAYS))
    for _ in range(2):
        await world.sessions.stop(ALICE, "dev1")
        await world.reported(session, SessionState.STOPPED)
        world.clock.advance(minutes=1)
        await world.logins.wake(session.uid, "alice", LoginKind.PLAIN)
        await world.reported(session, SessionState.RUNNING)
    await world.sessions.stop(ALICE, "dev1")
    await world.reported(session, SessionState.STOPPED)
    with pytest.raises(WrongState):
        await world.logins.wake(session.uid, "alice", LoginKind.PLAIN)
    assert (await world.logins.look(session.uid)).effect is LoginEffect.TERMINAL
    await world.sessions.start(ALICE, "dev1")
    await world.sessions.stop(ALICE, "dev1")
    assert (await world.logins.look(session.uid)).effect is LoginEffect.START
