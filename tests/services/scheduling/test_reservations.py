"""Reservations of addresses, on the store in memory and on SQLite; the time of the database is that of the test."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.adapters.store.views import SqlReader
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.scheduling.address import EXPIRED, MAX_RESERVED, AddressReservation
from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.errors import Exhausted, NetvpsError, NotFound, WrongState
from netvps.services.runners.joining import Joining
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import ALICE, BOB, ON_OVERLAY, ROOT, World

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.accounts import Caller


@pytest.fixture(autouse=True)
async def _runners(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def now(_: SqlReader) -> datetime:
        return world.clock()

    monkeypatch.setattr(SqlReader, "now", now)
    await world.runner("lab1", hello=ON_OVERLAY)
    await world.runner("lab2", hello=ON_OVERLAY)


async def created(world: World, name: str, token: str, caller: Caller = ALICE, **how: object) -> Session:
    spec = SessionSpec(**how)  # type: ignore[arg-type]
    return await world.sessions.create(caller, session_id=name, owner="", spec=spec, address_reservation=token)


async def test_a_session_gets_the_address_that_was_known_before(world: World) -> None:
    first, second = [await world.reservations.reserve(ALICE, "lab2", 60) for _ in range(2)]
    assert first.address != second.address
    session = await created(world, "b", second.token)
    assert (session.overlay_address, session.runner_name) == (second.address, "lab2")
    with pytest.raises(NotFound, match="it was used, or has ended"):
        await created(world, "c", second.token)
    assert (await created(world, "a", first.token)).overlay_address == first.address
    assert await world.rows(AddressReservation) == []


async def test_a_plan_uses_none_up(world: World) -> None:
    kept = await world.reservations.reserve(ALICE, "lab2", 60)
    plan = await world.sessions.plan(
        ALICE, session_id="a", owner="", spec=SessionSpec(), address_reservation=kept.token
    )
    assert plan.session.overlay_address == kept.address
    assert (await created(world, "a", kept.token)).overlay_address == kept.address


async def test_one_that_has_ended_is_refused_and_its_address_is_free(world: World) -> None:
    kept = await world.reservations.reserve(ALICE, "lab1", 60)
    world.clock.now += timedelta(seconds=60)
    with pytest.raises(WrongState, match=rf"the reservation of {kept.address} ended at") as refusal:
        await created(world, "a", kept.token)
    assert refusal.value.reason == EXPIRED
    again = await world.reservations.reserve(ALICE, "lab1", 60)
    assert [one.token for one in await world.rows(AddressReservation)] == [again.token]


async def test_it_is_of_its_user_and_goes_with_its_runner(world: World) -> None:
    kept = await world.reservations.reserve(ALICE, "lab1", 60)
    with pytest.raises(NotFound, match="no reservation"):
        await created(world, "a", kept.token, BOB)
    await world.runners.remove(ROOT, "lab1")
    with pytest.raises(NotFound, match="no reservation"):
        await created(world, "a", kept.token)


async def test_a_session_that_cannot_have_it_is_not_made(world: World) -> None:
    kept = await world.reservations.reserve(ALICE, "lab1", 60)
    for how in ({"cpus": 99}, {"network": Network.NONE}, {"runner_filter": "name=lab2"}):
        with pytest.raises(Exhausted, match=rf"cannot have {kept.address} of runner lab1: "):
            await created(world, "a", kept.token, **how)
    await world.runners.offline(kept.runner)
    with pytest.raises(Exhausted, match="of runner lab1"):
        await created(world, "a", kept.token)
    assert await world.rows(Session) == []
    assert await world.rows(AddressReservation) == [kept]


async def test_a_user_has_a_limit(world: World) -> None:
    for _ in range(MAX_RESERVED):
        await world.reservations.reserve(ALICE, "lab1", 60)
    with pytest.raises(Exhausted, match="user alice has 32 reserved addresses, which is the limit"):
        await world.reservations.reserve(ALICE, "lab2", 60)
    await world.reservations.reserve(BOB, "lab2", 60)
    world.clock.now += timedelta(seconds=60)
    await world.reservations.reserve(ALICE, "lab2", 60)


async def test_a_repeated_request_reserves_one(world: World) -> None:
    first, second = [await world.reservations.reserve(ALICE, "lab1", 60, "r1") for _ in range(2)]
    assert first == second


async def test_a_runner_without_the_overlay_has_none(world: World) -> None:
    await world.runner("plain")
    with pytest.raises(WrongState, match="runner plain is not on the overlay"):
        await world.reservations.reserve(ALICE, "plain", 60)
    with pytest.raises(NotFound, match="no runner lab9"):
        await world.reservations.reserve(ALICE, "lab9", 60)


STEPS = st.lists(st.sampled_from(["reserve", "use", "create", "delete", "wait"]), max_size=30)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_address_is_handed_out_twice(steps: list[str]) -> None:
    asyncio.run(_walk(steps))


async def _walk(steps: list[str]) -> None:
    clock = FakeClock()
    world = World(MemoryStore(clock), clock)
    await world.populate()
    settings_of_five = OverlaySettings("c")
    world.joining = Joining(world.store, clock, world.new_uid, world.ca, settings_of_five, 29)  # 5 addresses
    await world.runner("lab1", hello=ON_OVERLAY)
    tokens: list[str] = []
    for number, step in enumerate(steps):
        try:
            match step:
                case "reserve":
                    tokens.append((await world.reservations.reserve(ALICE, "lab1", 60)).token)
                case "use" if tokens:
                    await created(world, f"s{number}", tokens.pop(0))
                case "create":
                    await world.session(f"s{number}")
                case "delete":
                    for session in (await world.rows(Session))[:1]:
                        await world.sessions.delete(ALICE, session.name)
                        if session.runner:
                            await world.reported(session, SessionState.DELETED)
                case "wait":
                    clock.now += timedelta(seconds=31)
        except NetvpsError:
            pass  # no address is left, or the reservation has ended
        reserved = [one.address for one in await world.rows(AddressReservation) if not one.has_ended(clock())]
        used = [one.overlay_address for one in await world.rows(Session) if one.overlay_address]
        assert len({*reserved, *used}) == len(reserved) + len(used)
