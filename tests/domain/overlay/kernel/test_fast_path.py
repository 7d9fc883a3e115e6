"""What the programs of the fast path look packets up in; the programs themselves: tests/adapters/bpf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.overlay.change import Tracker
from netvps.domain.overlay.kernel.fast_path import FastPathConstants, Subnet, fast_path
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.peer_health import Health
from netvps.domain.overlay.settings import OverlaySettings, device_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay

T = TypeVar("T")
SETTINGS = OverlaySettings("cluster")
MTU = 1450
ANN, BOB, ANNS, BOBS = "10.128.0.2", "10.128.0.3", "10.128.4.2", "10.128.4.3"


def _peer(number: int, **changes: object) -> Peer:
    uid = f"r{number}"
    lease = Lease(f"10.128.{4 * number}.0/22", uid, 1)
    peer = Peer(uid, uid, lease, device_mac(SETTINGS, uid), Underlay((f"192.0.2.{number + 1}",), MTU))
    return replace(peer, **changes)  # type: ignore[arg-type]


PEERS = (_peer(0), _peer(1), _peer(2))


def _ends(owners: Mapping[str, str]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(f"at-{address}", "web", owner, address) for address, owner in owners.items())


def _view(owners: Mapping[str, str], peers: tuple[Peer, ...] = PEERS, health: Health | None = None) -> View:
    netmap = Netmap().updated(NetmapUpdate(1, peers, _ends(owners)))
    return View("r0", SETTINGS, PEERS[0].lease, PEERS[0].underlay, netmap, health or Health())


def test_all_sessions_are_known_of_owners_who_have_one_here() -> None:
    known = fast_path(_view({ANN: "ann", ANNS: "ann", "10.128.8.2": "ann", BOBS: "bob"}))
    assert known.owners == {ANN: "ann", ANNS: "ann", "10.128.8.2": "ann"}


def test_a_session_outside_the_subnet_of_its_address_takes_the_regular_path() -> None:
    view = _view({ANN: "ann", ANNS: "ann"})
    moved = (Endpoint("here", "a", "ann", "10.128.4.7", "r0"), Endpoint("there", "b", "ann", "10.128.0.7", "r1"))
    netmap = view.netmap.updated(NetmapUpdate(2, endpoints=moved))
    assert fast_path(replace(view, netmap=netmap)) == fast_path(view)
    # One that is alone here makes its owner known, without itself.
    alone = _view({ANNS: "ann"})
    netmap = alone.netmap.updated(NetmapUpdate(2, endpoints=moved))
    assert fast_path(replace(alone, netmap=netmap)).owners == {ANNS: "ann"}


def test_other_runners_are_known_by_the_first_address_of_their_subnets() -> None:
    known = fast_path(_view({ANN: "ann"}))
    assert known.subnets == {
        "10.128.4.0": Subnet(PEERS[1].mac, open=True),
        "10.128.8.0": Subnet(PEERS[2].mac, open=True),
    }
    assert known.terms == FastPathConstants(PEERS[0].mac, "02:42:0a:80:00:01", "255.255.252.0", MTU)


@pytest.mark.parametrize(
    ("peer", "health"),
    [(PEERS[1], Health({"r1": 1400})), (_peer(1, underlay=Underlay(("192.0.2.2",), 1400)), Health())],
    ids=["as measured", "by its own word"],
)
def test_a_runner_that_only_smaller_packets_get_to_is_sent_none(peer: Peer, health: Health) -> None:
    known = fast_path(_view({ANN: "ann"}, (PEERS[0], peer, PEERS[2]), health))
    assert known.subnets == {"10.128.4.0": Subnet(peer.mac, open=False), "10.128.8.0": Subnet(PEERS[2].mac, open=True)}


@pytest.mark.parametrize(
    "peer",
    [_peer(1, underlay=Underlay(("2001:db8::2",), MTU)), _peer(1, lease=Lease("10.128.4.0/23", "r1", 1))],
    ids=["over IPv6 alone", "a subnet of another size"],
)
def test_a_runner_that_has_no_way_or_another_mask_has_no_part_in_it(peer: Peer) -> None:
    assert fast_path(_view({ANN: "ann"}, (PEERS[0], peer, PEERS[2]))).subnets.keys() == {"10.128.8.0"}


OWNERS = st.dictionaries(
    st.builds("10.128.{}.{}".format, st.sampled_from((0, 4, 8)), st.integers(2, 4)),
    st.sampled_from(("ann", "bob")),
    max_size=6,
)


@given(OWNERS, OWNERS, st.sets(st.sampled_from(PEERS[1:])), st.sets(st.sampled_from(PEERS[1:])))
def test_a_change_alone_leads_from_one_whole_to_the_next(
    before: dict[str, str], after: dict[str, str], few: set[Peer], others: set[Peer]
) -> None:
    tracker, old = Tracker(), _view(before, (PEERS[0], *few))
    gone = {address for address in before if address not in after}
    update = NetmapUpdate(
        2,
        tuple(others - few),
        _ends(after),
        tuple(peer.runner for peer in few - others),
        tuple(f"at-{address}" for address in gone),
    )
    new = replace(old, netmap=old.netmap.updated(update))
    assert tracker.follow(old) is None
    if (change := tracker.follow(new)) is None:
        return
    known, whole, less, more = (fast_path(view) for view in (old, new, change.old, change.new))
    assert _patched(known.owners, less.owners, more.owners) == whole.owners
    assert _patched(known.subnets, less.subnets, more.subnets) == whole.subnets
    assert more.terms == whole.terms


def _patched(known: Mapping[str, T], less: Mapping[str, T], more: Mapping[str, T]) -> dict[str, T]:
    """As the adapter does it."""
    return {key: value for key, value in known.items() if key not in less} | dict(more)
