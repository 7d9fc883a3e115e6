from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import Route
from netvps.domain.overlay.kernel.operations import EntryChanged
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate
from netvps.domain.overlay.peer_health import LinkState, Problem
from netvps.domain.runner.runner import Lease, Underlay, Welcome
from netvps.runner.overlay import overlay as module
from netvps.runner.overlay import repair_backoff as contest
from netvps.runner.overlay.links import Links
from netvps.runner.overlay.netmap_store import FileNetmapStore
from netvps.runner.overlay.overlay import Overlay
from netvps.runner.overlay.reconcile import Reconciler
from netvps.tasks import Tasks
from tests.runner.overlay.fakes import (
    SETTINGS,
    FakeFilter,
    FakeKernel,
    FakeNames,
    FakeNetwork,
    FakeTcp,
    FakeWire,
    lease,
    peer,
    whole,
)
from tests.support.patience import PATIENCE


class Machine:
    def __init__(self, folder: Path) -> None:
        self.kernel, self.network = FakeKernel(), FakeNetwork()
        self.filter, self.names = FakeFilter(), FakeNames()
        self.folder = folder
        self.wire = FakeWire()
        self.worries: list[tuple[Problem, ...]] = []
        self.reports, self.moved = 0, False
        self.overlay = self.restarted()

    def restarted(self) -> Overlay:
        """A new process of its runner."""
        reconciler = Reconciler(self.kernel, self.network, self.filter, self.names)
        store = FileNetmapStore(self.folder / "overlay.json", "runner1")
        links = Links("box1", self.wire, FakeTcp(), self.kernel)
        self.overlay = Overlay("runner1", self.kernel, reconciler, store, links)
        self.overlay.on_underlay_change = self._note
        self.overlay.on_problems_change = lambda: self.worries.append(self.overlay.problems)
        return self.overlay

    def welcome(self, offered: Lease | None = None) -> None:
        self.overlay.welcome(Welcome("box1", 5.0, offered or lease(1, "runner1"), SETTINGS))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Overlay]:
        await self.overlay.prepare()
        async with Tasks() as tasks:
            tasks.start(self.overlay.run(), name="overlay")
            yield self.overlay

    def _note(self, *, moved: bool) -> None:
        self.reports += 1
        self.moved = moved


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(module, "_RETRY_MIN", 0.01)
    monkeypatch.setattr(contest, "_FIRST", 0.001)
    monkeypatch.setattr(module, "_ABLE_SECONDS", 0.01)
    monkeypatch.setattr(module, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_WORRY_SECONDS", 0.0)
    return Machine(tmp_path)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def test_nothing_is_made_before_the_map_is_whole(machine: Machine) -> None:
    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(NetmapUpdate(3, peers=(peer(1), peer(2)), reset=True))
        await asyncio.sleep(0.05)
        assert machine.kernel.applied == []
        overlay.update(NetmapUpdate(4, caught_up=True))
        await until(lambda: machine.kernel.state.fdb)
        assert (overlay.generation, overlay.digest != "") == (4, True)


async def test_continuous_deletes_keep_no_watcher_from_changes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "_FIRST", 60.0)
    monkeypatch.setattr(contest, "_LONGEST", 60.0)
    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(4, peer(1), peer(2)))
        await until(lambda: machine.kernel.state.fdb)  # after which it rests
        overlay.update(NetmapUpdate(5, peers=(peer(3),), caught_up=True))
        await until(lambda: len(machine.kernel.state.fdb) == 2)


async def test_what_others_delete_comes_back(machine: Machine) -> None:
    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await until(lambda: machine.kernel.state.routes.get("10.128.8.0/22"))
        machine.kernel.happens(EntryChanged(op.DropRoute("10.128.8.0/22")), machine.kernel.loses("routes"))
        await until(lambda: machine.kernel.state.routes.get("10.128.8.0/22"))


async def test_a_container_that_starts_is_asked_for_its_port_at_once(machine: Machine) -> None:
    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await until(lambda: machine.kernel.state.fdb)
        served, dumps = len(machine.names.views), machine.kernel.dumps
        overlay.reload_ports()
        await until(lambda: len(machine.names.views) > served)
        assert machine.filter.looks == 1
        assert machine.kernel.dumps == dumps


async def test_a_start_without_the_control_plane_goes_by_what_was_known(machine: Machine) -> None:
    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(7, peer(1), peer(2)))
        await until((machine.folder / "overlay.json").exists)
        await until(lambda: machine.kernel.state.fdb)
    machine.kernel.state = machine.kernel.loses("fdb")
    machine.restarted()
    async with machine.running() as overlay:
        await until(lambda: machine.kernel.state.fdb)
        assert overlay.generation == 7
        # What it knows is out of date, and so takes nothing away; what it receives now does.
        machine.welcome()
        overlay.update(NetmapUpdate(8, gone_peers=("runner2",), caught_up=True))
        await until(lambda: not machine.kernel.state.fdb)


async def test_a_machine_that_cannot_goes_without_until_it_can(machine: Machine) -> None:
    machine.kernel.incapable = "no overlay: the runner lacks CAP_NET_ADMIN"
    async with machine.running() as overlay:
        assert (overlay.underlay, overlay.local_problems) == (None, ("no overlay: the runner lacks CAP_NET_ADMIN",))
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await asyncio.sleep(0.05)
        assert machine.kernel.applied == []
        machine.kernel.incapable = ""
        await until(lambda: machine.kernel.state.fdb)
        assert machine.reports == 1
        assert not overlay.local_problems


async def test_an_underlay_that_comes_later_is_reported_at_once(machine: Machine) -> None:
    machine.kernel.way = None
    async with machine.running() as overlay:
        assert overlay.underlay is None
        machine.welcome()
        overlay.update(whole(1, peer(1)))
        await until(lambda: overlay.local_problems)
        machine.kernel.way = Underlay(("192.0.2.1",), 1450)
        await until(lambda: machine.kernel.state.device)
        assert machine.reports == 1


async def test_a_changed_address_is_the_devices_and_reported_at_once(machine: Machine) -> None:
    from netvps.domain.overlay.kernel.operations import LinksChanged

    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await until(lambda: machine.kernel.state.fdb)
        machine.kernel.way = Underlay(("192.0.2.77",), 1450)
        machine.kernel.happens(LinksChanged("an address"))
        await until(lambda: machine.kernel.state.device and machine.kernel.state.device.local == "192.0.2.77")
        assert (overlay.underlay, machine.reports, machine.moved) == (machine.kernel.way, 2, True)
        machine.kernel.way = None  # lost: what there is stays
        machine.kernel.happens(LinksChanged("an address"))
        dumps = machine.kernel.dumps
        await until(lambda: machine.kernel.dumps > dumps)
        assert machine.kernel.state.device is not None
        assert overlay.underlay == Underlay(("192.0.2.77",), 1450)


async def test_an_address_that_changes_while_a_round_goes_on_is_not_missed(machine: Machine) -> None:
    from netvps.domain.overlay.kernel.operations import LinksChanged

    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await until(lambda: machine.kernel.state.fdb)
        underlay = machine.kernel.underlay

        async def just_before() -> Underlay:
            found = await underlay()
            machine.kernel.underlay = underlay  # type: ignore[method-assign]
            machine.kernel.way = Underlay(("192.0.2.77",), 1450)
            machine.kernel.happens(LinksChanged("an address"))
            await asyncio.sleep(0.02)
            return found

        machine.kernel.underlay = just_before  # type: ignore[method-assign]
        machine.kernel.happens(LinksChanged("an address"))
        await until(lambda: overlay.underlay == Underlay(("192.0.2.77",), 1450))


async def test_an_older_lease_of_our_subnet_is_refused(machine: Machine) -> None:
    async with machine.running() as overlay:
        machine.welcome(lease(1, "runner1", epoch=3))
        overlay.update(whole(1, peer(1)))
        await until(lambda: machine.kernel.state.device)
        machine.welcome(lease(1, "runner1", epoch=2))
        assert overlay._lease == lease(1, "runner1", epoch=3)


async def test_another_subnet_waits_for_those_on_the_old_one(machine: Machine) -> None:
    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await until(lambda: machine.network.made)
        machine.network.on_it = {"10.128.4.2": "veth1"}
        machine.welcome(lease(9, "runner1"))
        await until(lambda: machine.kernel.state.device is None)
        assert any("10.128.36.0/22 instead of 10.128.4.0/22" in problem for problem in overlay.local_problems)
        assert machine.kernel.state.bridge
        machine.network.on_it = {}
        await until(lambda: machine.kernel.state.device)
        assert [subnet for subnet, _ in machine.network.made] == ["10.128.36.0/22"]
        assert not overlay.local_problems


async def test_a_subnet_given_to_another_is_not_used(machine: Machine) -> None:
    from dataclasses import replace

    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await until(lambda: machine.kernel.state.device)
        newer = replace(peer(3), lease=lease(1, "runner3", epoch=2))
        overlay.update(NetmapUpdate(2, peers=(newer,), caught_up=True))
        await until(lambda: machine.kernel.state.device is None)
        assert "was given to runner runner3" in overlay.local_problems[0]


async def test_a_bug_in_a_round_does_not_end_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = machine.kernel.dump

    async def broken() -> object:
        monkeypatch.setattr(machine.kernel, "dump", dump)
        raise RuntimeError("bug")

    monkeypatch.setattr(machine.kernel, "dump", broken)
    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await until(lambda: machine.kernel.state.fdb)


async def test_endpoints_are_part_of_what_is_kept(machine: Machine) -> None:
    async with machine.running() as overlay:
        machine.welcome()
        end = Endpoint("s", "web", "anna", "10.128.4.2")
        overlay.update(NetmapUpdate(1, peers=(peer(1),), endpoints=(end,), reset=True, caught_up=True))
        store = FileNetmapStore(machine.folder / "overlay.json", "runner1")
        await until(lambda: (known := store.load()) and known.netmap.endpoints == {"s": end})


async def test_what_gets_through_is_the_routes_mtu_is_reported_and_known_after_a_restart(machine: Machine) -> None:
    machine.wire.largest["10.128.8.0"] = 1300
    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await until(lambda: machine.kernel.state.routes.get("10.128.8.0/22") == Route("10.128.8.0", 1300))
        await until(lambda: machine.worries)
        (problem,) = machine.worries[-1]
        assert problem.peer == "runner2"
        for part in ("box1 (192.0.2.1)", "runner2 (192.0.2.2)", "UDP port 14789", "1500 bytes", "1350"):
            assert part in problem.message
        assert [link.state for link in await overlay.probe(("runner2", "runner9"))] == [LinkState.REDUCED]
        store = FileNetmapStore(machine.folder / "overlay.json", "runner1")
        await until(lambda: (known := store.load()) and known.health.mtus == {"runner2": 1300})
    machine.wire.able = False  # nothing is measured: what was, holds
    machine.restarted()
    async with machine.running() as overlay:
        await until(lambda: overlay._reconciler._desired.routes)
        assert machine.kernel.state.routes["10.128.8.0/22"] == Route("10.128.8.0", 1300)
        assert await overlay.probe(("runner2",)) == ()


async def test_a_problem_and_its_end_are_reported(machine: Machine) -> None:
    machine.kernel.refusing = {op.PutRoute}
    async with machine.running() as overlay:
        machine.welcome()
        overlay.update(whole(1, peer(1), peer(2)))
        await until(lambda: machine.worries)
        assert machine.worries[-1] == (Problem("refused"),)
        machine.kernel.refusing = set()
        await until(lambda: machine.worries[-1] == ())
