from __future__ import annotations

from netvps.domain.overlay.conflicts import in_the_way, overlapping, usurper
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Peer
from netvps.domain.runner import Lease, Underlay


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
        assert usurper(Netmap().updated(NetmapUpdate(1, peers=(peer,))), "me", mine) == name


def test_what_is_in_the_way_is_named_and_what_to_do() -> None:
    assert in_the_way("10.128.0.0/10", {"192.0.2.0/24": "elsewhere"}) == ""
    said = in_the_way("10.128.0.0/10", {"10.130.0.0/16": "10.130.0.0/16 dev eth1"})
    assert "overlaps a route of this machine (10.130.0.0/16 dev eth1): remove that" in said
