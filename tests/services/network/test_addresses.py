from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain.overlay.settings import OverlaySettings, session_addresses
from netvps.domain.runner.runner import CAPABILITIES, HOST_ROUTES, KEPT_ADDRESSES, Heartbeat, Lease, Runner
from netvps.domain.session.lifecycle import ADDRESSES_EXHAUSTED, place
from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.errors import Exhausted
from netvps.services.network.addresses import Addresses, Given, put_addressed
from netvps.services.runners.joining import Joining
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import ALICE, HELLO, ON_OVERLAY, ROOT, UNDERLAY, World

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


async def moved(world: World, session: Session, runner: Runner) -> Session:
    """As `services.moves` places it; the same session if the runner has no address left."""
    async with world.store.write("test") as tx:
        given = await Addresses(tx).keep(session, runner)
        if given is None:
            return session
        there = place(session, runner, world.clock(), given.overlay, local_address=given.local)
        return await put_addressed(tx, there)


async def test_a_session_that_moves_keeps_its_address_and_has_a_local_one_until_it_is_back(world: World) -> None:
    lab1, lab2 = [await world.runner(f"lab{number}", hello=ON_OVERLAY) for number in (1, 2)]
    lab1, lab2 = [await world.require(Runner, one.uid) for one in (lab1, lab2)]
    session = await world.session("a")
    assert (session.runner, session.overlay_address) == (lab1.uid, "10.128.0.2")
    there = await moved(world, session, lab2)
    assert (there.overlay_address, there.local_address) == ("10.128.0.2", "10.128.4.2")
    async with world.store.read() as reader:
        assert await Addresses(reader).pick(OVERLAY, lab1) == "10.128.0.3"
        assert await Addresses(reader).pick(OVERLAY, lab2) == "10.128.4.3"
        assert await Addresses(reader).keep(there, lab1) == Given("10.128.0.2")
    back = await moved(world, there, lab1)
    assert (back.overlay_address, back.local_address) == ("10.128.0.2", "")


async def test_an_address_that_is_away_is_given_to_no_other_session(small: World) -> None:
    lab1, lab2 = [await small.runner(f"lab{number}", hello=ON_OVERLAY) for number in (1, 2)]
    lab1, lab2 = [await small.require(Runner, one.uid) for one in (lab1, lab2)]
    await small.runners.offline(lab2.uid)
    mine = [await small.session(f"dev{number}") for number in range(5)]
    await small.runners.online(lab2.uid, ON_OVERLAY)
    for session in mine[:2]:
        await moved(small, session, lab2)
    async with small.store.read() as reader:
        assert await Addresses(reader).pick(OVERLAY, lab1) is None
        assert await Addresses(reader).pick(OVERLAY, lab2) == "10.128.0.12"
    await gone(small, mine[0])
    async with small.store.read() as reader:
        assert await Addresses(reader).pick(OVERLAY, lab1) == mine[0].overlay_address


async def test_the_subnet_of_a_removed_runner_is_leased_until_no_session_has_an_address_of_it(world: World) -> None:
    lab1, lab2 = [await world.runner(f"lab{number}", hello=ON_OVERLAY) for number in (1, 2)]
    lab2 = await world.require(Runner, lab2.uid)
    sessions = [await world.session(name) for name in "ab"]
    await world.session("c")
    for session in sessions:
        if session.runner != lab2.uid:
            await moved(world, session, lab2)
    away = [one for one in await world.rows(Session) if one.local_address]
    assert away
    await world.runners.remove(ROOT, "lab1", force=True)
    cidr = "10.128.0.0/22"
    assert cidr in {lease.cidr for lease in await world.rows(Lease)}
    new = await world.runner("lab3", hello=ON_OVERLAY)
    assert [lease.cidr for lease in await world.rows(Lease, runner=new.uid)] == ["10.128.8.0/22"]
    for session in away:
        assert cidr in {lease.cidr for lease in await world.rows(Lease)}
        await gone(world, session)
    assert cidr not in {lease.cidr for lease in await world.rows(Lease)}
    assert lab1.uid not in {lease.runner for lease in await world.rows(Lease)}


@pytest.mark.parametrize(
    ("lacking", "which", "why"),
    [
        (KEPT_ADDRESSES, "lab2", "its address 10.128.0.2 is 10.128.4.2 now: runner lab2 cannot give it that"),
        (HOST_ROUTES, "lab3", "its address 10.128.0.2 is 10.128.4.2 now: runner lab3 has an older version"),
    ],
)
async def test_where_a_runner_is_too_old_the_address_changes_and_it_is_said_why(
    world: World, lacking: str, which: str, why: str
) -> None:
    older = replace(ON_OVERLAY, capabilities=tuple(one for one in CAPABILITIES if one != lacking))
    lab1 = await world.runner("lab1", hello=ON_OVERLAY)
    session = await world.session("a")
    for name in ("lab2", "lab3"):
        await world.runner(name, hello=older if name == which else ON_OVERLAY)
    (lab2,) = await world.rows(Runner, name="lab2")
    async with world.store.read() as reader:
        given = await Addresses(reader).keep(session, lab2)
    assert session.runner == lab1.uid
    assert given is not None
    assert (given.overlay, given.local) == ("10.128.4.2", "")
    assert given.why.startswith(why)


async def test_one_that_leaves_the_overlay_leaves_both_addresses(world: World) -> None:
    await world.runner("lab1", hello=ON_OVERLAY)
    session = await world.session("a")
    lab2 = await world.require(Runner, (await world.runner("lab2", hello=ON_OVERLAY)).uid)
    await moved(world, session, lab2)
    await world.runners.online(lab2.uid, HELLO)
    await world.sessions.stop(ALICE, "a")
    after = await world.sessions.start(ALICE, "a")
    assert (after.overlay_address, after.local_address) == ("", "")


steps = st.tuples(
    st.sampled_from(["join", "leave", "create", "delete", "restart", "blink", "move", "move"]), st.integers(0, 7)
)


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
            case "move" if which < len(sessions) and runners:
                target = sorted(runners)[number % len(runners)]
                if sessions[which].runner not in {"", runners[target].uid}:
                    await moved(world, sessions[which], await world.require(Runner, runners[target].uid))
        sessions, leases = await world.rows(Session), {lease.runner: lease for lease in await world.rows(Lease)}
        had = [session for session in sessions if session.overlay_address]
        in_use = [one for session in had for one in (session.overlay_address, session.local_address) if one]
        assert len(set(in_use)) == len(in_use)
        assert len({lease.cidr for lease in leases.values()}) == len(leases)
        of = {str_of(address): uid for uid, lease in leases.items() for address in session_addresses(lease.cidr)}
        for session in had:
            assert of[session.local_address or session.overlay_address] == session.runner
            assert (of[session.overlay_address] != session.runner) == bool(session.local_address)
        lent = {of[session.overlay_address] for session in had if session.local_address}
        assert leases.keys() - {runner.uid for runner in await world.rows(Runner)} <= lent
    assert epochs == sorted(set(epochs))


def str_of(number: int) -> str:
    return ".".join(str(byte) for byte in number.to_bytes(4))
