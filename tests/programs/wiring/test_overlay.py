"""A runner's overlay is built of real parts, and what they opened is closed again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.plan import plan
from netvps.domain.overlay.netmap import Netmap
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Welcome
from netvps.programs.wiring.overlay import overlay
from netvps.runner.settings import RunnerSettings as Place
from netvps.settings import RunnerSettings, load
from netvps.tasks import Tasks
from tests.runner.overlay.fakes import SETTINGS, peer, whole
from tests.support.namespaces import joined, namespace
from tests.support.patience import PATIENCE


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("r1", "box1", "1", tmp_path, tmp_path, tmp_path, "192.0.2.9:7444")


async def test_it_is_built_only_where_it_is_enabled(place: Place) -> None:
    off = load(RunnerSettings, {"overlay": "false"})
    async with overlay(off, place, Docker("unix:///nowhere")) as none:
        assert none is None


@pytest.mark.netns
async def test_it_knows_what_the_machine_can(place: Place) -> None:
    with namespace() as host, host.inside():
        host.ip("address", "add", "192.0.2.1/24", "dev", "lo")
        on = load(RunnerSettings, {"underlay": "192.0.2.1"})
        for _ in range(2):  # what the first held is free again
            async with overlay(on, place, Docker("unix:///nowhere")) as built:
                assert built is not None
                await built.prepare()
                assert not built.local_problems
                assert built.underlay is not None
                assert built.underlay.addresses == ("192.0.2.1",)


@pytest.mark.netns
async def test_without_sessions_it_takes_over_what_another_left(place: Place) -> None:
    """As a server did that joined the overlay itself: its device has another MAC and another address."""
    with joined(1) as (host,), host.inside():
        forwarding = host.run("sysctl", "-n", "net.ipv4.ip_forward")
        for uid, lease in (("gw1", Lease("10.128.0.0/22", "gw1", 1)), ("r1", Lease("10.128.8.0/22", "r1", 3))):
            netmap = whole(5, peer(3), peer(4))
            async with overlay(load(RunnerSettings, {}), replace(place, uid=uid), None) as built, Tasks() as tasks:
                assert built
                await built.prepare()
                built.welcome(Welcome("box1", 5.0, lease, SETTINGS))
                built.update(netmap)
                tasks.start(built.run(), name="overlay")
                assert built.underlay
                desired = plan(View(uid, SETTINGS, lease, built.underlay, Netmap().updated(netmap), hosting=False))
                async with NetlinkKernel() as kernel, asyncio.timeout(PATIENCE):
                    while diff(desired, await kernel.dump()):
                        await asyncio.sleep(0.02)
        assert "nvbr0" not in host.ip("-br", "link")
        assert "10.128.0.0/32" not in host.ip("-br", "address")
        assert host.run("sysctl", "-n", "net.ipv4.ip_forward") == forwarding
