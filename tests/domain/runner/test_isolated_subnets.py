from __future__ import annotations

from ipaddress import IPv4Network
from itertools import pairwise

from netvps.domain.runner.docker_names import NETWORK_SUBNET
from netvps.domain.runner.isolated_subnets import free_subnets


def test_all_are_apart_and_within_the_range_of_sessions_without_the_overlay() -> None:
    found = [IPv4Network(cidr) for cidr in free_subnets(())]
    assert len(found) == 32 + 64 + 256
    assert all(cidr.subnet_of(IPv4Network(NETWORK_SUBNET)) for cidr in found)
    assert not any(one.overlaps(other) for one, other in pairwise(sorted(found)))
    assert [cidr.prefixlen for cidr in (found[0], found[32], found[-1])] == [22, 24, 26]


def test_what_is_taken_is_left_out() -> None:
    taken = ["172.30.0.0/23", "172.30.10.0/24", "192.0.2.0/24", "2001:db8::/64"]
    assert [next(free_subnets(taken)), *list(free_subnets(taken))[1:2]] == ["172.30.4.0/22", "172.30.12.0/22"]
    assert list(free_subnets(["172.16.0.0/12"])) == []
