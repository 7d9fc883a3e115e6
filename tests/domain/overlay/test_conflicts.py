from __future__ import annotations

from netvps.domain.overlay.conflicts import conflicting_lease_holder, cut_off, overlapping, pool_conflict
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay


def test_routes_within_and_around_the_pool_overlap_it() -> None:
    foreign = {
        "0.0.0.0/0": "default",
        "0.0.0.0/1": "half of a default, of a VPN",
        "192.0.2.0/24": "elsewhere",
        "10.0.0.0/8": "around",
        "10.130.0.0/16": "within",
    }
    assert overlapping("10.128.0.0/10", foreign) == ["around", "within"]


def test_a_later_lease_of_our_subnet_is_found() -> None:
    mine, way = Lease("10.128.0.0/22", "me", 2), Underlay(("192.0.2.2",), 1450)
    for epoch, name in ((1, ""), (2, ""), (3, "box")):
        peer = Peer("other", "box", Lease("10.128.0.0/22", "other", epoch), "02:00:00:00:00:02", way)
        assert conflicting_lease_holder(Netmap().updated(NetmapUpdate(1, peers=(peer,))), "me", mine) == name


def test_of_two_sessions_with_one_address_the_older_one_is_cut_off() -> None:
    address = "10.128.0.2"
    ends = [Endpoint(f"s{n}", "web", owner, address) for n, owner in enumerate(("ann", "bob"), 1)]
    elsewhere = Endpoint("s3", "web", "cyd", "10.128.4.2"), Endpoint("s4", "web", "dan", "10.128.4.2")
    for order in (ends, ends[::-1]):
        netmap = Netmap().updated(NetmapUpdate(1, endpoints=(*order, *elsewhere)))
        view = View("r", OverlaySettings("c"), Lease("10.128.0.0/22", "r", 1), Underlay(("192.0.2.1",), 1450), netmap)
        assert cut_off(view) == ["web.ann (10.128.0.2, which web.bob has, too)"]


def test_a_conflict_of_the_pool_is_named_with_what_to_do() -> None:
    assert pool_conflict("10.128.0.0/10", {"192.0.2.0/24": "elsewhere"}) is None
    said = pool_conflict("10.128.0.0/10", {"10.130.0.0/16": "10.130.0.0/16 dev eth1"}) or ""
    assert "overlaps a route of this machine (10.130.0.0/16 dev eth1): remove that" in said
