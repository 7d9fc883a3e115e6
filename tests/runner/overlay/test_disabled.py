from __future__ import annotations

from netvps.domain.overlay.kernel.links import Bridge
from netvps.domain.overlay.netmap import Netmap
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Underlay
from netvps.runner.overlay.disabled import NoNames, NoNetwork
from netvps.runner.overlay.reconcile import Reconciler
from tests.runner.overlay.fakes import SETTINGS, FakeFilter, FakeKernel, lease, peer


async def test_there_is_a_way_to_the_others_and_nothing_for_sessions() -> None:
    kernel, netmap = FakeKernel(), Netmap(1, {one.runner: one for one in (peer(1), peer(2))})
    reconciler = Reconciler(kernel, NoNetwork(), FakeFilter(), NoNames())
    view = View("runner1", SETTINGS, lease(1, "runner1"), Underlay(("192.0.2.1",), 1450), netmap, hosting=False)
    assert (await reconciler.make(view)).failures == ()
    assert kernel.state.bridge is None
    assert list(kernel.state.neighbours.values()) == [peer(2).mac]
    assert (await reconciler.make(view)).operations == 0
    assert kernel.attached == []
    assert await reconciler.vacate()


async def test_there_is_no_port_of_the_bridge() -> None:
    network, names = NoNetwork(), NoNames()
    await network.ensure("10.128.4.0/22", Bridge("02:00:00:00:00:01", 1450, 365))
    assert await network.ports() == {}
    await names.close()
