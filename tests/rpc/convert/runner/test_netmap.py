from __future__ import annotations

import pytest
from hypothesis import given, settings

from netvps.api.v1 import link_pb2 as pb
from netvps.api.v1 import runner_pb2
from netvps.domain.names import RUNNER_NAME_MAX
from netvps.domain.overlay.netmap import NetmapUpdate, Peer
from netvps.domain.runner.runner import MAX_ADDRESSES, Lease, Underlay
from netvps.domain.uid import UID_LENGTH
from netvps.errors import InvalidInput
from netvps.rpc.convert.runner.netmap import encoded, netmap_update_from_proto, netmap_update_to_proto
from netvps.services.network.netmap import PART
from tests.rpc.convert import values

UNDERLAY = runner_pb2.Underlay(addresses=["192.0.2.1"], mtu=1450)


@settings(max_examples=40)
@given(values.netmap_updates)
def test_an_update_comes_back_as_it_was(update: NetmapUpdate) -> None:
    assert netmap_update_from_proto(netmap_update_to_proto(update)) == update
    assert pb.ConnectResponse.FromString(encoded(update)).netmap == netmap_update_to_proto(update)


@pytest.mark.parametrize(
    ("peer", "path"),
    [
        (pb.Peer(runner_uid=""), r"peers\[0\]\.runner_uid"),
        (pb.Peer(runner_uid="../etc"), r"peers\[0\]\.runner_uid"),
        (pb.Peer(runner="lab1"), r"peers\[0\]\.runner"),
        (pb.Peer(subnet=runner_pb2.Subnet(cidr="10.128.0.1/22")), r"peers\[0\]\.subnet\.cidr"),
        (pb.Peer(subnet=runner_pb2.Subnet(cidr="2001:db8::/64")), r"peers\[0\]\.subnet\.cidr"),
        (pb.Peer(subnet=runner_pb2.Subnet(epoch=-1)), r"peers\[0\]\.subnet\.epoch"),
        (pb.Peer(mac="01:00:00:00:00:01"), r"peers\[0\]\.mac"),
        (pb.Peer(), r"peers\[0\]\.underlay\.addresses"),
    ],
)
def test_a_peer_is_checked(peer: pb.Peer, path: str) -> None:
    good = pb.Peer(
        runner_uid="r1",
        runner="runners/lab1",
        subnet=runner_pb2.Subnet(cidr="10.128.0.0/22", epoch=1),
        mac="02:00:00:00:00:01",
        underlay_addresses=UNDERLAY.addresses,
        mtu=UNDERLAY.mtu,
    )
    assert netmap_update_from_proto(pb.Netmap(peers=[good])).peers
    with pytest.raises(InvalidInput, match=path):
        netmap_update_from_proto(pb.Netmap(peers=[peer]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session_uid", ""),
        ("session_id", "a.b"),
        ("owner_id", "Bob"),
        ("address", "10.128.0"),
        ("address", "::1"),
        ("runner_uid", "../x"),
    ],
)
def test_an_endpoint_is_checked(field: str, value: str) -> None:
    endpoint = pb.Endpoint(session_uid="s1", session_id="web", owner_id="ann", address="10.128.0.2")
    assert netmap_update_from_proto(pb.Netmap(endpoints=[endpoint])).endpoints
    setattr(endpoint, field, value)
    with pytest.raises(InvalidInput, match=rf"endpoints\[0\]\.{field}"):
        netmap_update_from_proto(pb.Netmap(endpoints=[endpoint]))


def test_no_message_is_larger_than_a_mebibyte() -> None:
    way = Underlay(
        tuple(f"2001:db8:ffff:ffff:ffff:ffff:ffff:{n:x}" for n in range(0xFFF0, 0xFFF0 + MAX_ADDRESSES)), 9000
    )
    lease = Lease("10.128.255.255/32", "z" * UID_LENGTH, (1 << 63) - 1)
    peer = Peer(lease.runner, "n" * RUNNER_NAME_MAX, lease, "02:00:00:00:00:01", way, gateway=True)
    update = NetmapUpdate((1 << 63) - 1, (peer,) * PART, reset=True, caught_up=True, digest="f" * 32)
    assert netmap_update_from_proto(netmap_update_to_proto(update)) == update
    assert len(encoded(update)) < 1 << 20
