"""A server on a machine without a runner (first), and a runner on another (second), with real kernels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import structlog

from netvps.adapters.netlink.interfaces.mac import link_mac
from netvps.adapters.netlink.overlay_lock import OverlayLock
from netvps.domain.overlay.fabric import device_mac
from netvps.domain.runner.runner import Runner, Underlay
from netvps.errors import Unavailable
from netvps.programs.wiring import gateway_member as module
from netvps.programs.wiring.gateway_member import GatewayMember, own_uid
from netvps.services.network.gateway_place import GatewayPlace
from netvps.services.network.gateway_row import GatewayRow
from netvps.services.network.netmap import NetmapHub
from netvps.tasks import Tasks
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import FABRIC, ON_OVERLAY, ROOT, World
from tests.support.namespaces import Namespace, joined

pytestmark = pytest.mark.netns
THERE = replace(ON_OVERLAY, underlay=Underlay(("192.0.2.2",), 1450))


@dataclass
class Server:
    world: World
    hub: NetmapHub
    tasks: Tasks
    host: Namespace
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        mac = lambda: link_mac("nv0")  # noqa: E731 — as the program has it
        self.place = GatewayPlace(self.world.store, self.world.clock, self.hub, mac)
        self.row = GatewayRow(self.world.store, self.world.clock, FABRIC, 22, uid="gw1", name="gateway", version="1")
        self.member = GatewayMember(FABRIC, self.hub, self.row, self.place, mac, "0.0.0.0", 0.2)

    def start(self) -> asyncio.Task[None]:
        return self.tasks.start(self.member.run(), name="member")

    def is_there(self) -> bool:
        """Whether it has what it needs to reach the runner."""
        routes = self.host.ip("route", "show", "proto", "201")
        return link_mac("nv0") == device_mac(FABRIC, "gw1") and "10.128.0.0/22" in routes

    async def uids(self) -> list[str]:
        return [row.uid for row in await self.world.rows(Runner)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
def host() -> Iterator[Namespace]:
    with joined(2) as (first, _), first.inside():
        yield first


@pytest.fixture
async def server(host: Namespace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(module, "_LOOK", 0.05)
    clock = FakeClock()
    world = World(MemoryStore(clock), clock)
    await world.populate()
    async with Tasks() as tasks:
        tasks.start(world.feed.run(), name="feed")
        hub = NetmapHub(world.store, world.feed, FABRIC, lambda _: b"")
        tasks.start(hub.run(), name="netmap")
        await hub.loaded()
        yield Server(world, hub, tasks, host)


async def test_it_joins_once_there_is_somebody_to_reach_and_what_it_made_stays(server: Server) -> None:
    forwarding = server.host.run("sysctl", "-n", "net.ipv4.ip_forward")
    running = server.start()
    await asyncio.sleep(0.5)
    assert await server.uids() == []
    runner = await server.world.runner("lab1", hello=THERE)
    session = await server.world.session()
    await until(server.is_there)
    await until(lambda: server.place.way(session.uid) is not None)
    way = server.place.way(session.uid)
    assert way
    assert way.source == "10.128.4.0"
    assert sorted(await server.uids()) == sorted([runner.uid, "gw1"])
    assert server.host.run("sysctl", "-n", "net.ipv4.ip_forward") == forwarding
    await server.world.runner("lab2", hello=replace(ON_OVERLAY, underlay=Underlay(("192.0.2.3",), 1450)))
    await until(lambda: "10.128.8.0/22" in server.host.ip("route"))
    running.cancel()
    await asyncio.wait([running])
    assert server.is_there()
    assert not OverlayLock().held()
    server.start()
    await until(OverlayLock().held)
    assert server.is_there()


async def test_a_runner_that_comes_has_it_at_once(server: Server) -> None:
    await server.world.runner("lab1", hello=THERE)
    server.start()
    await until(server.is_there)
    runner = OverlayLock()
    assert await runner.take_over(10)
    assert link_mac("nv0") == ""
    assert server.host.ip("route", "show", "table", "all", "proto", "201") == ""
    assert "netvps" not in server.host.run("nft", "list", "tables")
    assert "NETVPS" not in server.host.run("iptables", "-S")
    async with asyncio.timeout(10):
        while "gw1" in await server.uids():
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    assert link_mac("nv0") == ""  # it has it still
    runner.free()
    await until(server.is_there)


async def test_what_a_runner_left_here_is_left_to_it(server: Server) -> None:
    here = await server.world.runner("lab1", hello=THERE)
    server.host.ip("link", "add", "nv0", "type", "bridge")
    server.host.ip("link", "set", "nv0", "address", device_mac(FABRIC, here.uid))
    server.start()
    await asyncio.sleep(0.7)
    assert await server.uids() == [here.uid]
    assert not OverlayLock().held()


async def test_one_that_is_removed_goes_and_joins_anew(server: Server) -> None:
    await server.world.runner("lab1", hello=THERE)
    server.start()
    await until(server.is_there)
    await server.world.runners.remove(ROOT, "gateway")
    await until(lambda: link_mac("nv0") == "")
    await until(server.is_there)


async def test_what_is_in_the_way_is_said_once_and_the_tunnel_goes_on(server: Server) -> None:
    server.host.ip("route", "add", "10.130.0.0/16", "dev", "eth0")
    with structlog.testing.capture_logs() as said:
        await server.world.runner("lab1", hello=THERE)
        running = server.start()
        await until(lambda: any("overlaps a route" in line.get("reason", "") for line in said))
        await asyncio.sleep(0.8)
    assert sum("overlaps a route" in line.get("reason", "") for line in said) == 1
    assert "gw1" not in await server.uids()
    assert not running.done()
    server.host.ip("route", "del", "10.130.0.0/16")
    await until(server.is_there)


async def test_trouble_and_bugs_end_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.world.runner("lab1", hello=THERE)
    errors = [Unavailable("the database is away"), KeyError("a bug")]

    async def fails(*_: object) -> None:
        raise errors.pop(0)

    with structlog.testing.capture_logs() as said, monkeypatch.context() as patched:
        patched.setattr(GatewayRow, "join", fails)
        running = server.start()
        await until(lambda: not errors)
    await until(server.is_there)
    assert not running.done()
    assert any(line.get("reason") == "the database is away" for line in said)


async def test_without_the_privilege_it_says_so_and_is_done(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "unprivileged", lambda: "no right to")
    with structlog.testing.capture_logs() as said:
        await server.member.run()
    assert [line["reason"] for line in said] == ["no right to"]


@pytest.mark.parametrize(
    ("listen", "way"),
    [("0.0.0.0", "192.0.2.2"), ("127.0.0.1", "192.0.2.2"), ("2001:db8::1", "192.0.2.2"), ("192.0.2.1", "192.0.2.1")],
)
async def test_the_way_to_the_others_is_by_where_they_come_to_or_are(server: Server, listen: str, way: str) -> None:
    server.member.listen = listen
    assert server.member._target() == ""
    await server.row.join(Underlay(("192.0.2.1",), 1450))
    runner = await server.world.runner("lab1", hello=THERE)
    await until(lambda: {"gw1", runner.uid} <= set(server.hub.netmap.peers))
    assert server.member._target() == way


def test_the_uid_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "gateway"
    assert own_uid(file, lambda: "a") == "a"
    assert own_uid(file, lambda: "b") == "a"
