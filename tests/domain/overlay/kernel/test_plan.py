from __future__ import annotations

from dataclasses import replace

from netvps.domain.overlay.kernel.links import Address, Bridge, Device, ObjectNames, Route
from netvps.domain.overlay.kernel.plan import AGEING_DAYS, ON_BRIDGE, UNREACHABLE, plan, withdrawn
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.peer_health import Health
from netvps.domain.overlay.settings import OverlaySettings, device_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay

SETTINGS = OverlaySettings("cluster")


def peer(uid: str, cidr: str, *addresses: str, mtu: int = 1450, epoch: int = 1) -> Peer:
    return Peer(uid, uid, Lease(cidr, uid, epoch), device_mac(SETTINGS, uid), Underlay(addresses, mtu))


def view(*peers: Peer) -> View:
    me = peer("me", "10.128.0.0/22", "192.0.2.1")
    return View("me", SETTINGS, me.lease, me.underlay, Netmap().updated(NetmapUpdate(1, peers=(me, *peers))))


def test_alone_there_is_a_device_a_bridge_and_no_peer() -> None:
    state = plan(view())
    assert state.device == Device(7, 14789, "192.0.2.1", device_mac(SETTINGS, "me"), 1450)
    assert state.bridge == Bridge("02:42:0a:80:00:01", 1450, ageing_days=365)
    assert state.addresses == {Address("nv0", "10.128.0.0/32"), Address("nvbr0", "10.128.0.1/22")}
    assert (state.neighbours, state.fdb, state.routes) == ({}, {}, {"10.128.0.0/10": UNREACHABLE})


def test_the_bridge_forgets_no_session_and_its_ageing_time_fits_the_kernel() -> None:
    """It is a u32 there, in hundredths of a second; and 0 is to forget at once."""
    assert 0 < AGEING_DAYS * 24 * 60 * 60 * 100 < 1 << 32


def test_a_peer_is_a_neighbour_an_fdb_entry_and_a_route() -> None:
    state = plan(view(peer("b", "10.128.4.0/22", "192.0.2.2")))
    mac = device_mac(SETTINGS, "b")
    assert state.neighbours == {"10.128.4.0": mac}
    assert state.fdb == {mac: "192.0.2.2"}
    assert state.routes == {"10.128.0.0/10": UNREACHABLE, "10.128.4.0/22": Route("10.128.4.0")}


def test_a_route_carries_the_smaller_mtu() -> None:
    small, large = peer("b", "10.128.4.0/22", "192.0.2.2", mtu=1300), peer("c", "10.128.8.0/22", "192.0.2.3", mtu=8950)
    state = plan(view(small, large))
    assert [state.routes[cidr].mtu for cidr in ("10.128.4.0/22", "10.128.8.0/22")] == [1300, 0]


def test_what_was_measured_makes_a_route_smaller_and_never_larger() -> None:
    peers = [peer(uid, f"10.128.{4 * n}.0/22", f"192.0.2.{n}", mtu=1400) for n, uid in enumerate("bcd", 2)]
    health = Health({"b": 1280, "c": 1430, "gone": 600}, checksum_offload=False)
    state = plan(replace(view(*peers), health=health))
    assert [state.routes[one.lease.cidr].mtu for one in peers] == [1280, 1400, 1400]
    assert state.device is not None
    assert not state.device.checksum_offload


def test_the_address_of_our_family_is_taken() -> None:
    state = plan(
        view(peer("b", "10.128.4.0/22", "2001:db8::2", "192.0.2.2"), peer("c", "10.128.8.0/22", "2001:db8::3"))
    )
    assert list(state.fdb.values()) == ["192.0.2.2"]
    assert "10.128.8.0/22" not in state.routes


def moved(address: str, runner: str) -> Endpoint:
    return Endpoint(f"s-{address}", "web", "ann", address, runner)


def test_a_session_outside_the_subnet_of_its_address_has_a_host_route() -> None:
    here, there, gone = moved("10.128.4.9", "me"), moved("10.128.0.9", "b"), moved("10.128.0.8", "x")
    at_home = Endpoint("s", "db", "ann", "10.128.4.7")
    known = view(peer("b", "10.128.4.0/22", "192.0.2.2", mtu=1300))
    netmap = known.netmap.updated(NetmapUpdate(2, endpoints=(here, there, gone, at_home)))
    state = plan(replace(known, netmap=netmap))
    assert state.routes == {
        "10.128.0.0/10": UNREACHABLE,
        "10.128.4.0/22": Route("10.128.4.0", 1300),
        "10.128.4.9/32": ON_BRIDGE,
        "10.128.0.9/32": Route("10.128.4.0", 1300),
        "10.128.0.8/32": UNREACHABLE,
    }
    assert withdrawn(state).routes == {
        cidr: state.routes[cidr] for cidr in ("10.128.0.0/10", "10.128.4.9/32", "10.128.0.8/32")
    }
    assert "10.128.4.9/32" not in plan(replace(known, netmap=netmap, hosting=False)).routes
    assert state.sysctls["net/ipv4/conf/nvbr0/proxy_arp"] == "1"


def test_a_session_moved_to_a_runner_that_no_packet_reaches_is_unreachable() -> None:
    known = view(peer("b", "10.128.4.0/22", "2001:db8::2"))
    netmap = known.netmap.updated(NetmapUpdate(2, endpoints=(moved("10.128.0.9", "b"),)))
    assert plan(replace(known, netmap=netmap)).routes["10.128.0.9/32"] == UNREACHABLE


def test_of_two_holders_of_a_subnet_the_later_lease_counts() -> None:
    old, new = peer("b", "10.128.4.0/22", "192.0.2.2"), peer("c", "10.128.4.0/22", "192.0.2.3", epoch=2)
    for peers in ((old, new), (new, old)):
        assert list(plan(view(*peers)).fdb.values()) == ["192.0.2.3"]


def test_no_other_runner_gets_the_own_subnet() -> None:
    assert plan(view(peer("b", "10.128.0.0/22", "192.0.2.2"))) == plan(view())


def test_names_can_be_others() -> None:
    names = ObjectNames(device="x0", bridge="xbr0")
    state = plan(view(), names)
    assert {address.link for address in state.addresses} == {"x0", "xbr0"}
    assert "net/ipv4/conf/x0/rp_filter" in state.sysctls


def test_withdrawn_leaves_sessions_their_bridge_and_no_routes() -> None:
    state = plan(view(peer("b", "10.128.4.0/22", "192.0.2.2")))
    left = withdrawn(state)
    assert (left.device, left.neighbours, left.fdb) == (None, {}, {})
    assert left.routes == {"10.128.0.0/10": UNREACHABLE}
    assert left.addresses == {Address("nvbr0", "10.128.0.1/22")}
    assert left.bridge == state.bridge


def test_who_runs_no_sessions_is_no_router_and_has_no_bridge() -> None:
    whole, alone = plan(view(peer("b", "10.128.4.0/22", "192.0.2.2"))), view(peer("b", "10.128.4.0/22", "192.0.2.2"))
    state = plan(replace(alone, hosting=False))
    assert (state.device, state.neighbours, state.fdb) == (whole.device, whole.neighbours, whole.fdb)
    assert state.routes == whole.routes
    assert state.bridge is None
    assert state.addresses == {Address("nv0", "10.128.0.0/32")}
    assert not [path for path in state.sysctls if "forward" in path]
    assert state.sysctls["net/ipv4/conf/nv0/rp_filter"] == "2"
