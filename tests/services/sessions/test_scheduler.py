from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netvps.domain.runner.runner import RunnerState
from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.services.images.holdings import ImageHoldings
from netvps.services.sessions.scheduler import place_waiting
from tests.fakes.world import ALICE

if TYPE_CHECKING:
    import pytest

    from netvps.services.ports import Reader
    from tests.fakes.world import World


async def test_sessions_that_wait_are_placed_when_a_runner_comes(world: World) -> None:
    waiting = [await world.session(f"dev{number}") for number in range(3)]
    await world.sessions.stop(ALICE, "dev2")
    runner = await world.runner()
    after = {session.name: session for session in await world.rows(Session)}
    assert {name: session.runner for name, session in after.items()} == {
        "dev0": runner.uid,
        "dev1": runner.uid,
        "dev2": "",
    }
    assert [after[session.name].epoch for session in waiting] == [1, 1, 0]
    assert after["dev0"].revision < after["dev1"].revision  # the longest waiting first


async def test_what_is_placed_stays_where_it_is(world: World) -> None:
    await world.runner("lab1")
    before = await world.session()
    await world.runner("lab2")
    assert await world.sessions.get(ALICE, "dev1") == before


async def test_sessions_spread_over_runners(world: World) -> None:
    for name in ("lab1", "lab2", "lab3"):
        await world.runner(name)
    names = [(await world.session(f"dev{number}")).runner_name for number in range(6)]
    assert names == ["lab1", "lab2", "lab3"] * 2


async def test_what_is_not_to_run_takes_no_room(world: World) -> None:
    for name in ("lab1", "lab2"):
        await world.runner(name)
    assert (await world.session("dev1", spec=SessionSpec(cpus=8))).runner_name == "lab1"
    await world.sessions.stop(ALICE, "dev1")
    assert (await world.session("dev2")).runner_name == "lab1"


async def test_those_that_waited_spread_too(world: World) -> None:
    runners = [await world.runner(name, online=False) for name in ("lab1", "lab2")]
    for number in range(4):
        await world.session(f"dev{number}")
    async with world.store.write("test") as tx:
        for runner in runners:
            await tx.put(replace(runner, state=RunnerState.ONLINE))
        await place_waiting(tx, world.clock(), ImageHoldings())
    assert [s.runner_name for s in await world.rows(Session)] == ["lab1", "lab2"] * 2


async def test_the_reason_to_wait_is_written_once(world: World) -> None:
    session = await world.session(spec=SessionSpec(cpus=64))
    await world.runner()
    reported = await world.sessions.get(ALICE, "dev1")
    assert reported.message == "no runner that is online has 64 CPUs; see netvps runner ls, or ask for less"
    assert (reported.state, reported.uid) == (SessionState.PENDING, session.uid)
    async with world.store.write("test") as tx:
        await place_waiting(tx, world.clock(), ImageHoldings())
    assert await world.sessions.get(ALICE, "dev1") == reported


async def test_no_create_reads_the_sessions_that_are_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.runner()
    for number in range(30):
        await world.session(f"dev{number}")
    async with world.store.read() as reader:
        kind_of_reader: type[Any] = type(reader)
    find, read = kind_of_reader.find, []

    async def finding(reader: Reader, kind: type[Any], **where: str) -> list[Any]:
        found: list[Any] = await find(reader, kind, **where)
        read.extend(found if kind is Session else [])
        return found

    monkeypatch.setattr(kind_of_reader, "find", finding)
    await world.session("another")
    await world.session("")
    assert read == []
