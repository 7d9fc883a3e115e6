from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain.overlay.settings import OverlaySettings, session_addresses
from netvps.domain.runner.runner import Heartbeat, Lease
from netvps.domain.session.lifecycle import ADDRESSES_EXHAUSTED
from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.errors import Exhausted
from netvps.services.runners.joining import Joining
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import ALICE, HELLO, ON_OVERLAY, ROOT, UNDERLAY, World

if TYPE_CHECKING:
    from netvps.domain.runner.runner import Runner

OVERLAY, NONE = SessionSpec(network=Network.OVERLAY), SessionSpec(network=Network.NONE)


@pytest.fixture
def small(world: World) -> World:
    """Runners have 5 addresses each."""
    return with_prefix(world, 29)


def with_prefix(world: World, prefix: int, pool: str = "10.128.0.0/10") -> World:
    world.joining = Joining(world.store, world.clock, world.new_uid, world.ca, OverlaySettings("c", pool), prefix)
    return world


async def gone(world: World, session: Session) -> None:
    await world.sessions.delete(ALICE, session.name)
    await world.reported(session, SessionState.DELETED)


async def addresses(world: World) -> dict[str, str]:
    return {session.name: session.overlay_address for session in await world.rows(Session)}


async def test_a_session_has_an_address_where_its_runner_is_on_the_overlay(world: World) -> None:
    await world.runner("lab1", hello=ON_OVERLAY)
    assert (await world.session("a")).overlay_address == "10.128.0.2"
    assert (await world.session("b", spec=OVERLAY)).overlay_address == "10.128.0.3"
    assert (await world.session("c", spec=NONE)).overlay_address == ""
    await world.runners.offline((await world.rows(Session, name="a"))[0].runner)
    await world.runner("lab2")
    assert (await world.session("d")).overlay_address == ""


async def test_what_a_runner_reports_never_takes_its_place(world: World) -> None:
    await world.runner(hello=ON_OVERLAY)
    seen = await world.reported(await world.session(), SessionState.RUNNING, address="172.30.0.2")
    assert (seen.overlay_address, seen.address) == ("10.128.0.2", "172.30.0.2")


async def test_an_address_is_kept_across_stop_and_start(world: World) -> None:
    await world.runner(hello=ON_OVERLAY)
    session = await world.session()
    for _ in range(2):
        await world.sessions.stop(ALICE, "dev1")
        await world.reported(session, SessionState.STOPPED)
        await world.session(f"other{_}")
        assert (await world.sessions.start(ALICE, "dev1")).overlay_address == "10.128.0.2"
        await world.reported(session, SessionState.RUNNING)


async def test_a_free_address_is_not_given_again_before_all_others_were(small: World) -> None:
    await small.runner(hello=ON_OVERLAY)
    given_out = []
    for number in range(12):
        session = await small.session(f"dev{number}")
        given_out.append(int(session.overlay_address.rpartition(".")[2]))
        await gone(small, session)
    assert given_out == [2, 3, 4, 5, 6, 2, 3, 4, 5, 6, 2, 3]


async def test_who_finds_no_address_waits_and_goes_on_when_there_is_one(small: World) -> None:
    await small.runner(hello=ON_OVERLAY)
    there = [await small.session(f"dev{number}") for number in range(5)]
    waiting = [await small.session(f"more{number}") for number in range(2)]
    assert [(s.state, s.reason, s.runner) for s in waiting] == [(SessionState.PENDING, ADDRESSES_EXHAUSTED, "")] * 2
    assert waiting[0].message == (
        "all addresses on the overlay are taken (lab1): it starts when a session there is removed"
    )
    assert (await small.session("off", spec=NONE)).runner_name == "lab1"
    await gone(small, there[3])
    found = await addresses(small)
    assert (found["more0"], found["more1"]) == (there[3].overlay_address, "")
    after = await small.sessions.get(ALICE, "more0")
    assert (after.runner_name, after.reason, after.epoch) == ("lab1", "", 1)


async def test_another_runner_is_taken_where_the_emptiest_has_no_address_left(small: World) -> None:
    big = replace(ON_OVERLAY, capacity=replace(HELLO.capacity, cpus=64, memory_bytes=1 << 40))
    await small.runner("big", hello=big)
    await small.runner("lab1", hello=ON_OVERLAY)
    names = [(await small.session(f"dev{number}")).runner_name for number in range(7)]
    assert names == ["big"] * 5 + ["lab1"] * 2


async def test_a_message_names_a_few_of_the_runners_that_are_full(world: World) -> None:
    with_prefix(world, 30, "10.128.0.0/27")  # one address each
    for number in range(5):
        await world.runner(f"lab{number}", hello=ON_OVERLAY)
        await world.session(f"dev{number}")
    assert "are taken (lab0, lab1, lab2 and 2 more)" in (await world.session("more")).message


async def test_one_that_has_to_be_on_the_overlay_waits_for_a_runner_that_is(world: World) -> None:
    await world.runner("lab1")
    session = await world.session(spec=OVERLAY)
    assert session.message == (
        "no runner that is online is on the overlay; see netvps runner ls, or use another network"
    )
    runner = (await world.runners.get(ALICE, "lab1")).runner
    await world.runners.heartbeat(runner.uid, Heartbeat(HELLO.capacity, UNDERLAY))
    after = await world.sessions.get(ALICE, "dev1")
    assert (after.runner_name, after.overlay_address) == ("lab1", "10.128.0.2")


async def test_a_session_follows_its_runner_onto_the_overlay_and_off_when_it_starts(world: World) -> None:
    runner = await world.runner("lab1", hello=ON_OVERLAY)
    await world.session("strict", spec=OVERLAY)
    for name, hello in (("a", ON_OVERLAY), ("b", HELLO)):
        await world.runners.online(runner.uid, hello)
        await world.session(name)
    assert await addresses(world) == {"strict": "10.128.0.2", "a": "10.128.0.3", "b": ""}

    async def restarted(hello: object) -> dict[str, str]:
        await world.runners.online(runner.uid, hello)  # type: ignore[arg-type]
        for name in ("a", "b", "strict"):
            await world.sessions.stop(ALICE, name)
            await world.sessions.start(ALICE, name)
        return await addresses(world)

    assert await restarted(HELLO) == {"strict": "10.128.0.2", "a": "", "b": ""}
    assert await restarted(ON_OVERLAY) == {"strict": "10.128.0.2", "a": "10.128.0.4", "b": "10.128.0.5"}


async def test_a_retried_create_is_the_same_session_with_the_same_address(world: World) -> None:
    await world.runner(hello=ON_OVERLAY)
    made = [
        await world.sessions.create(ALICE, session_id="dev1", owner="", spec=SessionSpec(), request_id="r")
        for _ in range(2)
    ]
    await gone(world, made[0])
    again = await world.sessions.create(ALICE, session_id="dev1", owner="", spec=SessionSpec(), request_id="r")
    assert [session.overlay_address for session in (*made, again)] == ["10.128.0.2"] * 3


steps = st.tuples(st.sampled_from(["join", "leave", "create", "delete", "restart", "blink"]), st.integers(0, 7))


@settings(max_examples=40)
@given(st.lists(steps, max_size=40))
async def test_no_address_and_no_subnet_is_given_twice_whatever_happens(history: list[tuple[str, int]]) -> None:
    clock = FakeClock()
    world = with_prefix(World(MemoryStore(clock), clock), 29, "10.128.0.0/27")
    await world.populate()
    runners: dict[int, Runner] = {}
    epochs: list[int] = []
    for number, (step, which) in enumerate(history):
        sessions = await world.rows(Session)
        match step:
            case "join" if which not in runners:
                try:
                    runners[which] = await world.runner(f"lab{which}", hello=ON_OVERLAY if which % 3 else HELLO)
                except Exhausted:
                    continue
                epochs += [lease.epoch for lease in await world.rows(Lease, runner=runners[which].uid)]
            case "leave" if which in runners:
                del runners[which]
                await world.runners.remove(ROOT, f"lab{which}", force=True)
            case "create":
                await world.session(f"dev{number}")
            case "delete" if which < len(sessions):
                await world.sessions.delete(ALICE, sessions[which].name)
                if sessions[which].runner:
                    await world.reported(sessions[which], SessionState.DELETED)
            case "restart" if which < len(sessions):
                await world.sessions.stop(ALICE, sessions[which].name)
                await world.sessions.start(ALICE, sessions[which].name)
            case "blink" if which in runners:
                await world.runners.heartbeat(runners[which].uid, Heartbeat(HELLO.capacity, None))
                await world.runners.heartbeat(runners[which].uid, Heartbeat(HELLO.capacity, UNDERLAY))
        sessions, leases = await world.rows(Session), {lease.runner: lease for lease in await world.rows(Lease)}
        had = [session for session in sessions if session.overlay_address]
        assert len({session.overlay_address for session in had}) == len(had)
        assert len({lease.cidr for lease in leases.values()}) == len(leases)
        for session in had:
            mine = {str_of(number) for number in session_addresses(leases[session.runner].cidr)}
            assert session.overlay_address in mine
    assert epochs == sorted(set(epochs))


def str_of(number: int) -> str:
    return ".".join(str(byte) for byte in number.to_bytes(4))
