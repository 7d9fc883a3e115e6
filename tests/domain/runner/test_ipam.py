from __future__ import annotations

from ipaddress import IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPNetwork

from netvps.domain.runner.docker_names import NETWORK_SUBNET
from netvps.domain.runner.ipam import allocate, free_subnets, room
from netvps.errors import Exhausted

POOL = "10.128.0.0/26"
SMALL = [str(net) for net in IPNetwork(POOL).subnet(30)]


@given(st.sets(st.sampled_from(SMALL)), st.integers(27, 30))
@settings(max_examples=100, deadline=None)
def test_the_lowest_free_subnet_or_none(taken: set[str], prefix: int) -> None:
    def free(candidate: IPNetwork) -> bool:
        return not any(IPNetwork(cidr) in candidate for cidr in taken)

    candidates = [str(net) for net in IPNetwork(POOL).subnet(prefix) if free(net)]
    if candidates:
        assert allocate(POOL, prefix, taken) == candidates[0]
    else:
        with pytest.raises(Exhausted):
            allocate(POOL, prefix, taken)


def test_a_pool_is_given_out_whole_and_nothing_twice() -> None:
    taken: list[str] = []
    for _ in range(16):
        taken.append(allocate(POOL, 30, taken))
    assert taken == SMALL
    with pytest.raises(Exhausted, match=r"no /30 is left in the overlay's pool 10\.128\.0\.0/26: remove runners"):
        allocate(POOL, 30, taken)


def test_what_is_taken_may_be_of_another_size_or_pool() -> None:
    assert allocate("10.128.0.0/10", 22, ["10.128.0.0/16", "192.0.2.0/24"]) == "10.129.0.0/22"
    assert allocate("10.128.0.0/10", 22, ["10.128.1.0/24"]) == "10.128.4.0/22"
    with pytest.raises(Exhausted):
        allocate("10.128.0.0/24", 22, [])


@given(st.sets(st.integers(0, 63), max_size=64))
def test_room_is_how_often_one_more_can_be_had(numbers: set[int]) -> None:
    taken = [f"10.0.{4 * number}.0/22" for number in numbers]
    assert room("10.0.0.0/16", 22, taken) == 64 - len(numbers)
    assert room("10.0.0.0/16", 24, taken) == 4 * (64 - len(numbers))
    assert room("10.0.0.0/16", 16, taken) == (0 if taken else 1)


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
