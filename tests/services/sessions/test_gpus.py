"""GPUs belong to one session at a time: tables, and everything in any order."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain.runner.runner import Capacity, Heartbeat, Runner
from netvps.domain.session.session import DesiredState, Session, SessionReport, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Exhausted, NetvpsError
from tests.domain.runner.test_gpu import gpu, gpu_id
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import ALICE, BOB, HELLO, World

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller

ONE, TWO = SessionSpec(gpus=1), SessionSpec(gpus=2)


def capacity(*numbers: int) -> Capacity:
    return replace(HELLO.capacity, gpus=tuple(gpu(number) for number in numbers))


async def machine(world: World, *numbers: int, name: str = "lab1") -> Runner:
    return await world.runner(name, hello=replace(HELLO, capacity=capacity(*numbers)))


async def stopped(world: World, session: Session) -> Session:
    await world.sessions.stop(ALICE, str(session.full_name))
    return await world.reported(session, SessionState.STOPPED)


async def test_a_session_holds_its_gpus_until_it_is_stopped(world: World) -> None:
    runner = await machine(world, 0, 1)
    session = await world.session(spec=ONE)
    assert session.gpus == (gpu_id(0),)
    asked = await world.sessions.stop(ALICE, "dev1")
    assert asked.gpus == (gpu_id(0),)  # its container may run
    after = await world.reported(session, SessionState.STOPPED)
    assert (after.gpus, after.gpus_before) == ((), (gpu_id(0),))
    view = await world.runners.get(ALICE, runner.name)
    assert view.gpus_in_use == frozenset()
    assert (await world.session("dev2", spec=ONE)).gpus == (gpu_id(0),)
    assert (await world.sessions.start(ALICE, "dev1")).gpus == (gpu_id(1),)
    assert (await world.runners.get(ALICE, runner.name)).gpus_in_use == {gpu_id(0), gpu_id(1)}


async def test_a_start_takes_the_gpus_that_it_had_where_they_are_free(world: World) -> None:
    await machine(world, 0, 1)
    first = await world.session("first", spec=ONE)
    second = await world.session("second", spec=ONE)
    await stopped(world, first)
    await stopped(world, second)
    assert (await world.sessions.start(ALICE, "second")).gpus == (gpu_id(1),)


async def test_a_start_without_enough_free_gpus_says_who_has_them(world: World) -> None:
    await machine(world, 0, 1)
    session = await stopped(world, await world.session(spec=TWO))
    await world.session("mine", spec=ONE)
    await world.session("theirs", BOB, spec=ONE)
    with pytest.raises(
        Exhausted,
        match=r"^session dev1\.alice cannot start: it needs 2 of the 2 GPUs of its runner lab1, and 0 are free; in "
        rf"use: {gpu_id(0)} \(mine\.alice\), {gpu_id(1)} \(a session of another user\)$",
    ):
        await world.sessions.start(ALICE, "dev1")
    assert await world.row(Session, session.uid) == session


async def test_a_session_waits_for_gpus_and_gets_them_when_another_is_stopped_or_removed(world: World) -> None:
    await machine(world, 0)
    first = await world.session("first", spec=ONE)
    waiting = await world.session("second", spec=ONE)
    assert (waiting.runner, waiting.message) == (
        "",
        "no runner that is online has 1 GPU free (lab1 0 of 1); it starts when one has",
    )
    await stopped(world, first)
    second = await world.sessions.get(ALICE, "second")
    assert second.gpus == (gpu_id(0),)
    await world.session("third", spec=ONE)
    await world.sessions.delete(ALICE, "second")
    await world.reported(second, SessionState.DELETED)
    assert (await world.sessions.get(ALICE, "third")).gpus == (gpu_id(0),)


async def test_a_session_waits_for_a_machine_with_gpus(world: World) -> None:
    runner = await world.runner()
    session = await world.session(spec=ONE)
    assert session.message == "no runner that is online has a GPU; see netvps runner show NAME"
    await world.runners.heartbeat(runner.uid, Heartbeat(capacity(3)))
    assert (await world.sessions.get(ALICE, "dev1")).gpus == (gpu_id(3),)


async def test_named_gpus_are_waited_for(world: World) -> None:
    await machine(world, 0, 1)
    first = await world.session("first", spec=SessionSpec(gpu_ids=(gpu_id(1),)))
    assert first.gpus == (gpu_id(1),)
    waiting = await world.session("second", spec=SessionSpec(gpu_ids=(gpu_id(1),)))
    assert waiting.message == f"it waits for GPUs that others hold: {gpu_id(1)} (first.alice)"
    unknown = await world.session("third", spec=SessionSpec(gpu_ids=(gpu_id(9),)))
    assert unknown.message == f"no runner that is online has {gpu_id(9)}; free are lab1: {gpu_id(0)}"
    await stopped(world, first)
    assert (await world.sessions.get(ALICE, "second")).gpus == (gpu_id(1),)
    with pytest.raises(
        Exhausted, match=rf"{gpu_id(1)} \(second\.alice\); stop those first \(free there: {gpu_id(0)}\)$"
    ):
        await world.sessions.start(ALICE, "first")


async def test_a_session_whose_gpu_is_gone_gets_another_one_when_it_starts_again(world: World) -> None:
    runner = await machine(world, 0, 1)
    session = await world.session(spec=ONE)
    await world.reported(session, SessionState.FAILED, "gpu")
    await world.runners.heartbeat(runner.uid, Heartbeat(capacity(1)))
    again = await world.sessions.start(ALICE, "dev1")
    assert (again.gpus, again.generation) == ((gpu_id(1),), session.generation + 1)
    named = await world.session("named", spec=SessionSpec(gpu_ids=(gpu_id(0),)))
    assert named.runner == ""


async def test_a_clone_asks_for_as_many_gpus_and_not_for_those_of_its_source(world: World) -> None:
    await machine(world, 0, 1)
    session = await world.session(spec=SessionSpec(gpu_ids=(gpu_id(0),)))
    await world.reported(session, SessionState.RUNNING)
    clone = await world.clones.clone(ALICE, "dev1", session_id="copy")
    assert (clone.spec.gpus, clone.spec.gpu_ids) == (1, ())


CALLS = st.sampled_from(["create 1", "create 2", "named", "stop", "start", "delete", "pause", "resume"])
REPORTS = st.sampled_from([SessionState.RUNNING, SessionState.STOPPED, SessionState.FAILED, SessionState.DELETED])
EVENTS = st.lists(
    st.one_of(
        st.tuples(CALLS, st.integers(0, 3)),
        st.tuples(st.just("report"), st.integers(0, 3), REPORTS),
        st.tuples(st.just("machine"), st.frozensets(st.integers(0, 3))),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=40)  # other tests may have the machine
@given(EVENTS)
def test_no_gpu_ever_belongs_to_two_sessions(events: list[tuple[object, ...]]) -> None:
    asyncio.run(_live_through(events))


async def _live_through(events: list[tuple[object, ...]]) -> None:
    clock = FakeClock()
    world = World(MemoryStore(clock), clock)
    await world.populate()
    runner = await machine(world, 0, 1, 2)
    for event in events:
        with suppress(NetvpsError):  # a refusal changes nothing, which is checked below
            await _happen(world, runner, event)
        sessions = await world.rows(Session)
        held = [one for session in sessions for one in session.gpus]
        assert len(held) == len(set(held))
        for session in sessions:
            asked = session.spec.gpu_count
            assert len(session.gpus) in {0, asked}
            if session.runner and session.desired is DesiredState.RUNNING:
                assert len(session.gpus) == asked
            if session.spec.gpu_ids and session.gpus:
                assert set(session.gpus) == set(session.spec.gpu_ids)


async def _happen(world: World, runner: Runner, event: tuple[object, ...]) -> None:
    match event:
        case ("machine", frozenset(numbers)):
            await world.runners.heartbeat(runner.uid, Heartbeat(capacity(*numbers)))
        case ("report", int(number), SessionState() as state):
            for session in await world.rows(Session, owner="alice", name=f"s{number}"):
                report = SessionReport(session.uid, session.epoch, session.generation, state)
                await world.runners.report(runner.uid, report)
        case (str(call), int(number)):
            await _call(world, call, f"s{number}", ALICE, number)


async def _call(world: World, call: str, name: str, caller: Caller, number: int) -> None:
    specs = {"create 1": ONE, "create 2": TWO, "named": SessionSpec(gpu_ids=(gpu_id(number),))}
    if call in specs:
        await world.session(name, caller, specs[call])
    else:
        await getattr(world.sessions, call)(caller, name)
