from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.session import Session, SessionSpec, SessionState
from netvps.services.placer import place_waiting
from tests.fakes.world import ALICE

if TYPE_CHECKING:
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


async def test_the_reason_to_wait_is_written_once(world: World) -> None:
    session = await world.session(spec=SessionSpec(cpus=64))
    await world.runner()
    told = await world.sessions.get(ALICE, "dev1")
    assert told.message == "no runner that is online has 64 CPUs; see netvps runner ls, or ask for less"
    assert (told.state, told.uid) == (SessionState.PENDING, session.uid)
    async with world.store.write("test") as tx:
        await place_waiting(tx, world.clock())
    assert await world.sessions.get(ALICE, "dev1") == told
