"""A server's own place on the overlay: made once, told of, kept out of what runners are for, and removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netvps.domain.overlay.membership import MembershipIndex
from netvps.domain.overlay.peer_health import Problem
from netvps.domain.runner.runner import Lease, Runner, RunnerState, Underlay
from netvps.errors import Exhausted
from netvps.services.network.gateway_place import LIFE
from netvps.services.network.gateway_row import GatewayRow
from netvps.services.network.netmap import NetmapHub
from netvps.services.network.network import Network
from netvps.services.runners.leases import require_in_pool
from netvps.tasks import Tasks
from tests.fakes.world import FABRIC, ON_OVERLAY, ROOT, UNDERLAY, World


def row_of(world: World, uid: str = "gw1", *, prefix: int = 22) -> GatewayRow:
    return GatewayRow(world.store, world.clock, FABRIC, prefix, uid=uid, name="gateway-box", version="1.0")


async def test_it_is_a_peer_with_a_subnet_of_its_own_and_the_same_after_a_restart(world: World) -> None:
    runner = await world.runner(hello=ON_OVERLAY)
    welcome = await row_of(world).join(UNDERLAY)
    assert (welcome.runner, welcome.fabric) == ("gateway-box", FABRIC)
    world.clock.advance(hours=1)
    again = await row_of(world).join(Underlay(("192.0.2.7",), 1450))
    assert (again.runner, again.lease.cidr, again.lease.epoch) == (
        "gateway-box",
        welcome.lease.cidr,
        welcome.lease.epoch,
    )
    other = await row_of(world, "gw2").join(UNDERLAY)
    assert (other.runner, other.lease.cidr != again.lease.cidr) == ("gateway-box-2", True)
    row = await world.row(Runner, "gw1")
    assert row
    assert row.gateway_only
    assert (row.state, row.last_seen, row.gateway_until) == (RunnerState.ONLINE, world.clock(), world.clock() + LIFE)
    roster = MembershipIndex(FABRIC)
    for each in await world.rows(Runner):
        roster.take(each)
    for held in await world.rows(Lease):
        roster.take(held)
    assert {uid: peer.gateway for uid, peer in roster.peers.items()} == {runner.uid: False, "gw1": True, "gw2": True}


async def test_nothing_is_placed_there(world: World) -> None:
    await row_of(world).join(UNDERLAY)
    session = await world.session()
    assert session.runner == ""
    assert "no runner is online" in session.message
    runner = await world.runner(hello=ON_OVERLAY)
    assert (await world.session("dev2")).runner == runner.uid


async def test_no_roll_is_called_for_it(world: World) -> None:
    await row_of(world).join(UNDERLAY)
    before = await world.row(Runner, "gw1")
    await world.runners.call_roll()
    await world.runners.stale()
    assert await world.row(Runner, "gw1") == before


async def test_news_of_it_is_written_and_no_news_is_not(world: World) -> None:
    row = row_of(world)
    await row.join(UNDERLAY)
    revision = await world.revision()
    await row.tell(UNDERLAY, ())
    assert await world.revision() == revision
    await row.tell(None, (Problem("no way"),))
    seen = await world.row(Runner, "gw1")
    assert seen
    assert (seen.underlay, seen.problems) == (None, (Problem("no way"),))


async def test_it_leaves_and_so_does_what_a_person_removes(world: World) -> None:
    row = row_of(world)
    for remove in (row.leave(), world.runners.remove(ROOT, "gateway-box")):
        await row.join(UNDERLAY)
        await remove
        assert (await world.rows(Runner), await world.rows(Lease)) == ([], [])
    await row.leave()
    await row.tell(UNDERLAY, ())
    assert await world.rows(Runner) == []


async def test_without_a_subnet_there_is_none(world: World) -> None:
    with pytest.raises(Exhausted):
        await row_of(world, prefix=8).join(UNDERLAY)
    assert await world.rows(Runner) == []


async def test_people_see_it_for_what_it_is(world: World) -> None:
    await world.runner(hello=ON_OVERLAY)
    await row_of(world).join(replace(UNDERLAY, addresses=("192.0.2.9",)))
    hub = NetmapHub(world.store, world.feed, FABRIC, lambda _: b"")
    async with Tasks() as tasks:
        tasks.start(hub.run(), name="netmap")
        await hub.loaded()
        seen = await Network(world.store, hub, FABRIC, 22).overview()
    assert (seen.runners_on, seen.runners_off, seen.subnets_used) == (1, 0, 2)


async def test_another_pool_is_no_trouble_for_it(world: World) -> None:
    before = await row_of(world).join(UNDERLAY)
    async with world.store.read() as reader:
        await require_in_pool(reader, "10.64.0.0/16")
    moved = replace(FABRIC, pool="10.64.0.0/16")
    row = GatewayRow(world.store, world.clock, moved, 22, uid="gw1", name="gateway-box", version="1.0")
    after = await row.join(UNDERLAY)
    assert (after.lease.cidr, after.lease.epoch > before.lease.epoch) == ("10.64.0.0/22", True)
    assert [held.cidr for held in await world.rows(Lease)] == ["10.64.0.0/22"]
