"""Logins to sleeping sessions, with OpenSSH's client: which wake, what they show, and how they fail."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from netvps.domain.session.session import Author, ChangeCause, DesiredState, SessionState
from netvps.domain.sleep.policy import WakePolicy
from netvps.domain.sleep.waking import LoginKind
from tests.gateway.conftest import run

if TYPE_CHECKING:
    from tests.gateway.conftest import World


def stop(world: World, cause: ChangeCause, wake: WakePolicy = WakePolicy.DEFAULT, **next_look: Any) -> None:
    """The session of the world is stopped."""
    session = world.authorizer.session
    world.authorizer.session = replace(
        session,
        desired=DesiredState.STOPPED,
        state=SessionState.STOPPED,
        desired_by=Author("alice", cause),
        spec=replace(session.spec, wake=wake),
    )
    world.authorizer.next_look = next_look or {"state": SessionState.RUNNING, "message": ""}


async def test_any_login_starts_what_netvps_stopped_and_one_question_at_a_time_is_asked(world: World) -> None:
    stop(world, ChangeCause.IDLE)
    ran = await asyncio.gather(*(run(world.ssh("echo up")) for _ in range(4)))
    assert [(each.code, each.out) for each in ran] == [(0, b"up\n")] * 4
    assert any(b"netvps: session dev1 is stopped: starting it\r\n" in each.err for each in ran)
    assert any(b"netvps: session dev1: starting\r\n" in each.err for each in ran)
    assert set(world.authorizer.kinds) == {LoginKind.PLAIN}
    assert world.authorizer.looks <= 2 * len(ran)


@pytest.mark.parametrize("wake", [WakePolicy.DEFAULT, WakePolicy.NEVER])
async def test_a_command_does_not_start_what_a_person_stopped_unless_it_asks_for_that(
    world: World, wake: WakePolicy
) -> None:
    stop(world, ChangeCause.PERSON, wake)
    refused = await run(world.ssh("echo up"))
    assert (refused.code, world.authorizer.woken) == (255, [])
    assert b"start it with: netvps start dev1, or log in as wake+dev1" in refused.err
    asked = await run(world.ssh("echo up", login="wake+dev1"))
    assert (asked.code, asked.out) == (0, b"up\n")
    assert world.authorizer.kinds == [LoginKind.ASKED]


async def test_a_terminal_starts_what_a_person_stopped_and_shows_how_far_it_is(world: World) -> None:
    stop(world, ChangeCause.PERSON)
    ran = await run(world.ssh("seq 3000; tty", options=("-tt",)))
    assert ran.code == 0, ran.err
    lines = ran.out.decode().splitlines()
    assert lines[:2] == ["netvps: session dev1 is stopped: starting it", "netvps: session dev1: starting"]
    assert lines[2:-1] == [str(number + 1) for number in range(3000)]
    assert lines[-1].startswith("/dev/")
    assert world.authorizer.kinds == [LoginKind.TERMINAL]


async def test_forwards_alone_do_not_start_what_a_person_stopped(world: World) -> None:
    stop(world, ChangeCause.PERSON)
    ran = await run(world.ssh(options=("-W", "127.0.0.1:1")))
    assert (ran.code, world.authorizer.woken) == (255, [])


@pytest.mark.parametrize("cause", [ChangeCause.IDLE, ChangeCause.PERSON])
async def test_a_start_that_fails_is_explained(world: World, cause: ChangeCause) -> None:
    stop(world, cause, state=SessionState.FAILED, message="no image debian:99")
    options = ("-tt",) if cause is ChangeCause.PERSON else ()
    ran = await run(world.ssh("echo up", options=options))
    assert ran.code == 255
    assert b"session dev1 cannot be reached: it did not start: no image debian:99; see netvps show dev1" in ran.err
