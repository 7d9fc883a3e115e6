from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.overlay.netmap import (
    Endpoint,
    Netmap,
    NetmapUpdate,
    Peer,
    addresses_by_owner,
    holders,
    in_parts,
    whole,
)
from netvps.domain.runner.runner import Lease, Underlay

PEER = Peer("r1", "one", Lease("10.128.0.0/22", "r1", 1), "02:00:00:00:00:01", Underlay(("192.0.2.1",), 1450))
ENDPOINT = Endpoint("s1", "web", "ann", "10.128.0.2")

peers = st.builds(replace, st.just(PEER), runner=st.sampled_from("abcde"), name=st.sampled_from("xyz"))
endpoints = st.builds(replace, st.just(ENDPOINT), session=st.sampled_from("fghij"), name=st.sampled_from("xyz"))
updates = st.builds(
    NetmapUpdate,
    generation=st.integers(1, 9),
    peers=st.lists(peers, unique_by=lambda peer: peer.runner).map(tuple),
    endpoints=st.lists(endpoints, unique_by=lambda endpoint: endpoint.session).map(tuple),
    gone_peers=st.sets(st.sampled_from("abcde")).map(tuple),
    gone_endpoints=st.sets(st.sampled_from("fghij")).map(tuple),
    reset=st.booleans(),
)


@given(st.lists(updates, max_size=8))
def test_the_digest_is_of_what_is_known_not_of_how_it_came(history: list[NetmapUpdate]) -> None:
    netmap = Netmap()
    for update in history:
        netmap = netmap.updated(update)
    peers, endpoints = tuple(netmap.peers.values()), tuple(netmap.endpoints.values())
    reset = Netmap().updated(NetmapUpdate(1, peers[::-1], endpoints[::-1], reset=True))
    assert (reset.digest, reset.peers, reset.endpoints) == (netmap.digest, netmap.peers, netmap.endpoints)


@pytest.mark.parametrize(
    "other",
    [
        replace(PEER, lease=replace(PEER.lease, epoch=2)),
        replace(PEER, underlay=Underlay(("192.0.2.2",), 1450)),
        replace(PEER, underlay=Underlay(("192.0.2.1",), 1400)),
        replace(PEER, gateway=True),
    ],
)
def test_the_digest_tells_what_a_peer_needs_to_know(other: Peer) -> None:
    assert Netmap().updated(NetmapUpdate(1, (other,))).digest != Netmap().updated(NetmapUpdate(1, (PEER,))).digest


def test_what_a_lease_row_was_written_at_is_no_difference() -> None:
    other = replace(PEER, lease=replace(PEER.lease, revision=7))
    assert Netmap().updated(NetmapUpdate(1, (other,))).digest == Netmap().updated(NetmapUpdate(1, (PEER,))).digest


def test_an_update_replaces_and_removes() -> None:
    netmap = Netmap().updated(NetmapUpdate(1, (PEER,), (ENDPOINT,)))
    renamed = replace(ENDPOINT, name="db")
    netmap = netmap.updated(NetmapUpdate(2, endpoints=(renamed,), gone_peers=("r1", "never-there")))
    assert (netmap.generation, netmap.peers, netmap.endpoints) == (2, {}, {"s1": renamed})
    empty = netmap.updated(NetmapUpdate(3, reset=True))
    assert (empty.peers, empty.endpoints, empty.digest) == ({}, {}, Netmap().digest)


@given(st.lists(updates, max_size=3), updates, st.integers(1, 4))
def test_parts_make_the_whole_and_only_the_last_is_caught_up(
    history: list[NetmapUpdate], update: NetmapUpdate, size: int
) -> None:
    known = Netmap()
    for earlier in history:
        known = known.updated(earlier)
    goal = known.updated(update)
    parts = in_parts(update, goal.digest, size)
    for part in parts:
        known = known.updated(part)
        entries = len(part.peers + part.endpoints) + len(part.gone_peers + part.gone_endpoints)
        assert entries <= size
    assert known == goal
    assert [(part.caught_up, part.digest) for part in parts] == [(False, "")] * (len(parts) - 1) + [(True, goal.digest)]
    assert [part.reset for part in parts[1:]] == [False] * (len(parts) - 1)


@given(st.lists(updates, max_size=3), st.lists(updates, max_size=3))
def test_the_whole_map_takes_the_place_of_whatever_was_known(a: list[NetmapUpdate], b: list[NetmapUpdate]) -> None:
    known, other = Netmap(), Netmap()
    for update in a:
        known = known.updated(update)
    for update in b:
        other = other.updated(update)
    assert other.updated(whole(known)) == known


HERE = Endpoint("a", "web", "ann", "10.128.0.2")
THERE = Endpoint("b", "db", "ann", "10.128.4.2")
OTHER = Endpoint("c", "db", "bob", "10.128.4.3")


def test_only_owners_with_sessions_here_are_known_and_all_that_they_have() -> None:
    assert addresses_by_owner([HERE], [HERE, THERE, OTHER]) == {"ann": frozenset({"10.128.0.2", "10.128.4.2"})}


def test_an_address_is_the_newest_sessions() -> None:
    later = Endpoint("z", "web", "bob", HERE.address)
    assert holders([HERE, later, THERE]) == holders([later, HERE, THERE]) == [later, THERE]
