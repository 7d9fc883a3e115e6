from __future__ import annotations

from dataclasses import replace

import pytest

from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.links import KernelState
from netvps.domain.overlay.kernel.operations import EntryChanged, LinksChanged, PortChanged
from netvps.domain.overlay.kernel.plan import plan
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Underlay
from netvps.errors import ConfigError, Unavailable
from netvps.runner.overlay.reconcile import Outcome, Reconciler
from tests.runner.overlay.fakes import SETTINGS, FakeFilter, FakeKernel, FakeNames, FakeNetwork, lease, peer, whole


class Site:
    def __init__(self) -> None:
        self.kernel, self.network, self.filter, self.names = FakeKernel(), FakeNetwork(), FakeFilter(), FakeNames()
        self.reconciler = Reconciler(self.kernel, self.network, self.filter, self.names)

    async def make(self, *peers: Peer, forward: bool = True, current: bool = True) -> Outcome:
        return await self.reconciler.make(view(*peers), forward=forward, current=current)


@pytest.fixture
def site() -> Site:
    return Site()


def view(*peers: Peer) -> View:
    netmap = Netmap().updated(whole(1, peer(1), *peers))
    return View("runner1", SETTINGS, lease(1, "runner1"), Underlay(("192.0.2.1",), 1450), netmap)


async def test_a_round_makes_all_of_it_and_the_next_has_nothing_to_do(site: Site) -> None:
    outcome = await site.make(peer(2))
    assert outcome.operations > 0
    assert not outcome.failures
    assert (site.filter.views, site.names.views) == ([view(peer(2))], [view(peer(2))])
    assert [subnet for subnet, _ in site.network.made] == ["10.128.4.0/22"]
    assert await site.make(peer(2)) == Outcome(0, ())
    assert site.kernel.dumps == 1


async def test_a_change_of_the_map_needs_no_look_at_the_kernel(site: Site) -> None:
    await site.make(peer(2))
    assert (await site.make(peer(2), peer(3))).operations == 3
    assert (await site.make(peer(3))).operations == 3
    assert site.kernel.dumps == 1
    assert list(site.kernel.state.neighbours) == ["10.128.12.0"]


async def test_what_changed_alone_leads_where_the_whole_does(site: Site) -> None:
    seen = view(peer(2))
    await site.reconciler.make(seen)
    updates = [
        NetmapUpdate(2, peers=(peer(3), peer(4))),
        NetmapUpdate(3, peers=(peer(3, "192.0.2.99"),)),
        NetmapUpdate(4, peers=(replace(peer(5), lease=peer(3).lease),)),  # two have one subnet for a while
        NetmapUpdate(5, gone_peers=("runner3",)),
        NetmapUpdate(6, gone_peers=("runner2",)),
    ]
    for number, update in enumerate(updates):
        seen = replace(seen, netmap=seen.netmap.updated(update))
        await site.reconciler.make(seen, forward=number != 3)
        if number == 3:
            assert site.kernel.state.device is None
            await site.reconciler.make(seen)
        assert diff(plan(seen), site.kernel.state) == ()
        assert not site.reconciler.must_look
    assert site.kernel.dumps == 1


async def test_what_others_changed_is_found_and_repaired(site: Site) -> None:
    await site.make(peer(2))
    whole_state = site.kernel.state
    assert not site.reconciler.concerns(EntryChanged(op.PutFdb(peer(2).mac, "192.0.2.2")))  # it was us
    site.kernel.state = site.kernel.loses("fdb")
    assert site.reconciler.concerns(EntryChanged(op.DropFdb(peer(2).mac)))
    assert await site.make(peer(2)) == Outcome(1, ())
    assert site.kernel.state == whole_state
    assert site.reconciler.concerns(LinksChanged("a link"))
    assert site.kernel.dumps == 2


async def test_a_port_that_comes_is_asked_for_without_a_look_at_all(site: Site) -> None:
    await site.make(peer(2))
    assert site.reconciler.concerns(PortChanged("veth1"))
    assert (site.reconciler.must_look, site.filter.looks) == (False, 1)


async def test_what_was_refused_is_looked_at_again(site: Site) -> None:
    site.kernel.refusing = {op.PutRoute}
    assert (await site.make(peer(2))).failures == ("refused", "refused")
    site.kernel.refusing.clear()
    assert await site.make(peer(2)) == Outcome(2, ())


async def test_without_a_filter_nothing_is_made(site: Site) -> None:
    site.filter.broken = ConfigError("nft is not installed")
    with pytest.raises(ConfigError, match="nft is not installed"):
        await site.make(peer(2))
    assert site.kernel.state == KernelState()


async def test_a_pool_that_overlaps_a_route_of_the_machine_is_refused(site: Site) -> None:
    site.kernel.state = KernelState(foreign={"10.0.0.0/8": "10.0.0.0/8 dev vpn0"})
    with pytest.raises(ConfigError, match=r"pool 10.128.0.0/10 overlaps a route .*10.0.0.0/8 dev vpn0"):
        await site.make(peer(2))
    assert site.kernel.applied == []


async def test_one_that_came_later_stops_nothing(site: Site) -> None:
    await site.make(peer(2))
    site.kernel.state = replace(site.kernel.state, foreign={"10.130.0.0/16": "10.130.0.0/16 dev vpn0"})
    site.reconciler.doubt()
    assert await site.make(peer(2), peer(3)) == Outcome(3, ())


async def test_an_old_map_adds_and_takes_nothing_away(site: Site) -> None:
    await site.make(peer(2), peer(3))
    site.kernel.state = replace(site.kernel.state, neighbours={"10.128.8.0": peer(2).mac})
    site.reconciler.doubt()
    outcome = await site.make(peer(2, "192.0.2.99"), peer(3), current=False)
    assert outcome == Outcome(1, ())  # the neighbour that was missing
    old = view(peer(2, "192.0.2.99"), peer(3))
    assert (site.filter.views, site.filter.added) == ([view(peer(2), peer(3))], [old])
    await site.make(current=False)
    assert set(site.kernel.state.fdb.values()) == {"192.0.2.2", "192.0.2.3"}


async def test_without_forwarding_sessions_keep_their_bridge(site: Site) -> None:
    await site.make(peer(2))
    await site.make(peer(2), forward=False)
    state = site.kernel.state
    assert (state.device, state.neighbours, state.fdb) == (None, {}, {})
    assert state.bridge is not None
    assert list(state.routes) == ["10.128.0.0/10"]


async def test_a_recreated_bridge_and_ports_taken_off_it_are_joined_again(site: Site) -> None:
    await site.make(peer(2))
    site.network.on_it = {"10.128.4.2": "veth1", "10.128.4.3": "veth2"}
    for state in (replace(site.kernel.state, bridge=None, addresses=frozenset()), site.kernel.state):
        site.kernel.state = state
        site.kernel.attached.clear()
        site.reconciler.doubt()
        await site.make(peer(2))
        assert site.kernel.attached == [{"veth1", "veth2"}]


async def test_an_engine_that_is_away_stops_nothing_else(site: Site) -> None:
    site.network.broken = Unavailable("Docker does not answer")
    assert (await site.make(peer(2))).failures == ("Docker does not answer",)
    assert site.names.views
    assert site.kernel.state.fdb


async def test_news_during_a_round_are_not_lost(site: Site) -> None:
    apply = site.kernel.apply

    async def disturbed(operations: object) -> object:
        site.reconciler.concerns(LinksChanged("another program, just now"))
        return await apply(operations)  # type: ignore[arg-type]

    site.kernel.apply = disturbed  # type: ignore[method-assign,assignment]
    await site.make(peer(2))
    assert site.reconciler.must_look


async def test_the_old_network_is_removed_once_it_is_unused(site: Site) -> None:
    await site.make(peer(2))
    site.network.on_it = {"10.128.4.2": "veth1"}
    assert not await site.reconciler.vacate()
    assert site.network.made
    site.network.on_it = {}
    assert await site.reconciler.vacate()
    assert not site.network.made
