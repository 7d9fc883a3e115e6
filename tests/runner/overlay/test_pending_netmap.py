from __future__ import annotations

import pytest

from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.errors import DataLoss
from netvps.runner.overlay.pending_netmap import PendingNetmap
from tests.runner.overlay.fakes import peer, whole


def test_half_a_map_changes_nothing() -> None:
    staging = PendingNetmap(Netmap())
    assert staging.apply(whole(5, peer(1), peer(2)))
    before = staging.netmap
    assert not staging.apply(NetmapUpdate(9, peers=(peer(3),), reset=True))
    assert staging.netmap is before
    assert staging.apply(NetmapUpdate(9, peers=(peer(4),), caught_up=True))
    assert list(staging.netmap.peers) == ["runner3", "runner4"]
    assert staging.generation == 9


def test_a_connection_that_broke_in_the_middle_leaves_nothing_of_it() -> None:
    staging = PendingNetmap(Netmap())
    staging.apply(whole(5, peer(1)))
    staging.apply(NetmapUpdate(6, gone_peers=("runner1",)))
    staging.begin()
    assert staging.apply(NetmapUpdate(7, peers=(peer(2),), caught_up=True))
    assert list(staging.netmap.peers) == ["runner1", "runner2"]


def test_an_empty_map_means_empty() -> None:
    staging = PendingNetmap(Netmap())
    staging.apply(whole(5, peer(1)))
    assert staging.apply(NetmapUpdate(6, reset=True, caught_up=True))
    assert not staging.netmap.peers


def test_a_map_with_a_wrong_digest_is_not_taken_and_all_of_it_is_asked_for() -> None:
    staging = PendingNetmap(Netmap())
    staging.apply(whole(5, peer(1)))
    with pytest.raises(DataLoss, match="netmap of generation 6 differs from the server's"):
        staging.apply(NetmapUpdate(6, peers=(peer(2),), caught_up=True, digest="0" * 32))
    assert list(staging.netmap.peers) == ["runner1"]
    assert staging.generation == 0
    staging.begin()
    right = Netmap().updated(whole(6, peer(2)))
    assert staging.apply(NetmapUpdate(6, peers=(peer(2),), reset=True, caught_up=True, digest=right.digest))
    assert staging.generation == 6
