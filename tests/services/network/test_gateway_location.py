"""Gateways on runners' machines: seen, kept, moved away, and forgotten."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.overlay.settings import device_mac
from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session
from netvps.errors import Unavailable
from netvps.services.network import gateway_location as module
from netvps.services.network.gateway_location import LIFE, GatewayLocation, Route
from netvps.services.network.netmap import NetmapHub
from netvps.tasks import Tasks
from tests.fakes.world import ON_OVERLAY, SETTINGS, World
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Machine:
    """A server on a machine whose device has this MAC."""

    world: World
    hub: NetmapHub
    mac: str = ""

    def __post_init__(self) -> None:
        self.location = GatewayLocation(self.world.store, self.world.clock, self.hub, lambda: self.mac)

    def of(self, runner: Runner) -> None:
        self.mac = device_mac(SETTINGS, runner.uid)

    async def looks(self) -> list[str]:
        """Who is a gateway when everybody knows what this look has written."""
        await self.location.check()
        revision = await self.world.revision()
        async with asyncio.timeout(PATIENCE):
            while self.hub.netmap.generation < revision and await self.others():
                await asyncio.sleep(0.001)
        return sorted(peer.name for peer in self.hub.netmap.peers.values() if peer.gateway)

    async def others(self) -> bool:
        """Whether what the hub knows of runners is not what the store has."""
        rows = await self.world.rows(Runner)
        known = {row.uid: self.hub.runner(row.uid) for row in rows}
        flags = {uid: peer.gateway for uid, peer in self.hub.netmap.peers.items()}
        return any(known[row.uid] != row or flags.get(row.uid) != bool(row.gateway_until) for row in rows)


@asynccontextmanager
async def machine_of(world: World) -> AsyncIterator[Machine]:
    hub = NetmapHub(world.store, world.feed, SETTINGS, lambda _: b"", window=0.0)
    async with Tasks() as tasks:
        tasks.start(hub.run(), name="netmap")
        await hub.loaded()
        yield Machine(world, hub)


async def test_only_the_runner_whose_device_is_here_is_a_gateway(world: World) -> None:
    await world.runner("lab1", hello=ON_OVERLAY)
    lab2 = await world.runner("lab2", hello=ON_OVERLAY)
    async with machine_of(world) as machine:
        assert await machine.looks() == []
        machine.mac = "02:00:00:00:00:01"
        assert await machine.looks() == []
        machine.of(lab2)
        assert await machine.looks() == ["lab2"]


async def test_what_a_runner_says_of_itself_changes_nothing_of_it(world: World) -> None:
    lab1 = await world.runner("lab1", hello=ON_OVERLAY)
    async with machine_of(world) as machine:
        machine.of(lab1)
        assert await machine.looks() == ["lab1"]
        await world.runners.online(lab1.uid, ON_OVERLAY)
        await world.runners.offline(lab1.uid)
        assert await machine.looks() == ["lab1"]


async def test_it_is_written_rarely(world: World) -> None:
    lab1 = await world.runner("lab1", hello=ON_OVERLAY)
    async with machine_of(world) as machine:
        machine.of(lab1)
        before = await world.revision()
        for _ in range(60):
            await machine.looks()
            world.clock.advance(minutes=1)
        assert 10 <= await world.revision() - before <= 13
        assert machine.hub.netmap.peers[lab1.uid].gateway


async def test_a_gateway_that_moved_away_is_forgotten_by_whoever_looks(world: World) -> None:
    lab1, lab2 = await world.runner("lab1", hello=ON_OVERLAY), await world.runner("lab2", hello=ON_OVERLAY)
    async with machine_of(world) as machine, machine_of(world) as elsewhere:
        machine.of(lab1)
        assert await machine.looks() == ["lab1"]
        machine.of(lab2)
        assert await machine.looks() == ["lab1", "lab2"]
        world.clock.advance(seconds=LIFE.total_seconds() / 2 + 1)
        assert await machine.looks() == ["lab1", "lab2"]
        world.clock.advance(seconds=LIFE.total_seconds() / 2)
        assert await elsewhere.looks() == ["lab2"]
        world.clock.advance(days=1)
        assert await elsewhere.looks() == []
        assert await machine.looks() == ["lab2"]


async def test_servers_on_two_machines_are_two_gateways_and_on_one_they_are_one(world: World) -> None:
    lab1, lab2 = await world.runner("lab1", hello=ON_OVERLAY), await world.runner("lab2", hello=ON_OVERLAY)
    async with machine_of(world) as one, machine_of(world) as other:
        one.of(lab1)
        other.of(lab1)
        await one.looks()
        revision = await world.revision()
        assert await other.looks() == ["lab1"]
        assert await world.revision() == revision
        other.of(lab2)
        assert await other.looks() == ["lab1", "lab2"]


async def test_what_was_renewed_meanwhile_is_not_removed(world: World) -> None:
    lab1 = await world.runner("lab1", hello=ON_OVERLAY)
    async with machine_of(world) as machine:
        machine.of(lab1)
        await machine.looks()
        world.clock.advance(hours=1)
        late = machine.hub.runner(lab1.uid)
        assert late
        async with world.store.write("another server") as tx:
            await tx.put(replace(late, gateway_until=world.clock() + LIFE))
        machine.mac = ""
        assert await machine.looks() == ["lab1"]
        row = await world.row(Runner, lab1.uid)
        assert row
        assert row.gateway_until == world.clock() + LIFE


async def test_a_way_to_a_session_that_moved_with_its_address_leads_to_its_runner(world: World) -> None:
    lab1, lab2 = await world.runner("lab1", hello=ON_OVERLAY), await world.runner("lab2", hello=ON_OVERLAY)
    session = await world.session()
    assert session.runner == lab1.uid
    async with world.store.write("test") as tx:
        await tx.put(replace(session, runner=lab2.uid, local_address="10.128.4.2"))
    async with machine_of(world) as machine:
        for here, source in ((lab1, "10.128.0.0"), (lab2, "10.128.4.1")):
            machine.of(here)
            await machine.looks()
            assert machine.location.route_to(session.uid) == Route(source, session.overlay_address)
            located = await machine.location.locate(session.uid)
            assert located == Route(source, session.overlay_address, session.epoch)
            assert session.epoch


async def test_a_way_leads_to_the_address_that_a_session_has_now(world: World) -> None:
    lab1, lab2 = await world.runner("lab1", hello=ON_OVERLAY), await world.runner("lab2", hello=ON_OVERLAY)
    session = await world.session()
    async with machine_of(world) as machine:
        assert machine.location.route_to(session.uid) is None
        ways = {}
        for here in (lab1, lab2):
            machine.of(here)
            await machine.looks()
            ways[here.uid] = machine.location.route_to(session.uid)
        leases = {uid: peer.lease.cidr.removesuffix(".0/22") for uid, peer in machine.hub.netmap.peers.items()}
        own, other = leases[session.runner], leases[({lab1.uid, lab2.uid} - {session.runner}).pop()]
        assert ways == {
            session.runner: Route(f"{own}.1", session.overlay_address),  # the .0 is no host's, seen from there
            ({lab1.uid, lab2.uid} - {session.runner}).pop(): Route(f"{other}.0", session.overlay_address),
        }
        async with world.store.write("test") as tx:
            await tx.put(replace(session, overlay_address=f"{own}.77"))
        async with asyncio.timeout(PATIENCE):
            while (way := machine.location.route_to(session.uid)) is None or way.address != f"{own}.77":
                await asyncio.sleep(0.001)
        async with world.store.write("test") as tx:
            row = await tx.get(Session, session.uid)
            assert row
            await tx.delete(row)
        async with asyncio.timeout(PATIENCE):
            while machine.location.route_to(session.uid):
                await asyncio.sleep(0.001)


async def test_it_checks_when_the_netmap_changes_and_goes_on_after_errors(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    lab1 = await world.runner("lab1", hello=ON_OVERLAY)
    async with machine_of(world) as machine, Tasks() as tasks:
        left = [2]

        async def failing(*_: object) -> None:
            left[0] -= 1
            raise Unavailable("the database is away")

        with monkeypatch.context() as patch:
            patch.setattr(machine.location, "_write", failing)
            machine.of(lab1)
            tasks.start(machine.location.run(), name="location")
            async with asyncio.timeout(PATIENCE):
                while left[0] > 0:
                    await world.runner(f"more{left[0]}", hello=ON_OVERLAY)
                    await asyncio.sleep(0.01)
        await world.runner("last", hello=ON_OVERLAY)
        async with asyncio.timeout(PATIENCE):
            while not machine.hub.netmap.peers[lab1.uid].gateway:
                await asyncio.sleep(0.001)


def test_it_is_renewed_long_before_it_ends() -> None:
    assert timedelta(seconds=3 * module._TIMER[1]) < module.RENEWED < LIFE
