from __future__ import annotations

from netvps.adapters.filter.rules.subnets import by_mask, by_prefix
from netvps.domain.overlay.fabric import Fabric
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay

CIDRS = ("10.128.0.0/22", "10.128.4.0/22", "10.128.8.0/23", "10.144.0.0/16")


def subnet_view(here: int) -> View:
    peers = [
        Peer(f"r{n}", f"box{n}", Lease(cidr, f"r{n}", 1), f"02:00:00:00:00:0{n}", Underlay((f"192.0.2.{n}",), 1450))
        for n, cidr in enumerate(CIDRS)
    ]
    netmap = Netmap().updated(NetmapUpdate(1, tuple(peers)))
    return View(f"r{here}", Fabric("cluster"), peers[here].lease, peers[here].underlay, netmap)


def test_each_peer_is_in_one_of_the_two() -> None:
    assert by_mask(subnet_view(0)).elements == {"02:00:00:00:00:01 . 10.128.4.0"}
    assert by_prefix(subnet_view(0)).elements == {
        "02:00:00:00:00:02 . 10.128.8.0/23",
        "02:00:00:00:00:03 . 10.144.0.0/16",
    }


def test_whoever_is_of_a_size_of_its_own_has_all_others_as_prefixes() -> None:
    assert by_mask(subnet_view(3)).elements == set()
    assert by_prefix(subnet_view(3)).elements == {f"02:00:00:00:00:0{n} . {CIDRS[n]}" for n in range(3)}


def test_what_an_earlier_version_left_there_can_be_added_to() -> None:
    """nft refuses a set of another kind under one name."""
    assert by_prefix(subnet_view(0)).declaration == "{ type ether_addr . ipv4_addr; flags interval; }"
