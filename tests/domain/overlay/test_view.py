from __future__ import annotations

from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.settings import (
    OverlaySettings,
)
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from tests.adapters.filter.rules.test_overlay import CIDRS, subnet_view


def test_a_view_tells_itself_from_the_others() -> None:
    way = Underlay(("192.0.2.1",), 1450)
    mine, other = Lease("10.128.0.0/22", "a", 1), Lease("10.128.4.0/22", "b", 1)
    netmap = Netmap().updated(
        NetmapUpdate(
            1,
            peers=(Peer("a", "one", mine, "02:00:00:00:00:01", way), Peer("b", "two", other, "02:00:00:00:00:02", way)),
            endpoints=(Endpoint("s", "web", "anna", "10.128.0.2"), Endpoint("t", "db", "anna", "10.128.4.2")),
        )
    )
    view = View("a", OverlaySettings("cluster"), mine, way, netmap)
    assert [peer.name for peer in view.peers()] == ["two"]
    assert [end.name for end in view.local_endpoints()] == ["web"]
    moved = (Endpoint("s", "web", "anna", "10.128.0.2", "b"), Endpoint("t", "db", "anna", "10.128.4.2", "a"))
    after = View("a", OverlaySettings("cluster"), mine, way, netmap.updated(NetmapUpdate(2, endpoints=moved)))
    assert ([*view.moved()], [end.name for end in after.moved()]) == ([], ["web", "db"])
    assert [end.name for end in after.local_endpoints()] == ["db"]
    assert (after.lends("10.128.0.2"), after.lends("10.128.4.2")) == (True, False)
    assert view.mac != View("b", OverlaySettings("cluster"), other, way, netmap).mac


def test_the_mask_is_that_of_ones_own_subnet() -> None:
    assert [subnet_view(n).netmask for n in (0, 2, 3)] == ["255.255.252.0", "255.255.254.0", "255.255.0.0"]
    assert [subnet_view(0).same_size(cidr) for cidr in CIDRS] == [True, True, False, False]
