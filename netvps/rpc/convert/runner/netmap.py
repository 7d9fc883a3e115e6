"""The form in which the netmap is sent to runners."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from netvps.api.v1 import link_pb2 as pb
from netvps.domain.checks import Checks, shown
from netvps.domain.names import SESSION_NAME_MAX, USER_NAME_MAX, check_label
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate, Peer
from netvps.domain.runner.runner import Underlay
from netvps.rpc.convert import names
from netvps.rpc.convert.runner.runners import lease_from_proto, lease_to_proto

_MAX_UID: Final = 32
_MAC: Final = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")


def netmap_update_to_proto(update: NetmapUpdate) -> pb.Netmap:
    """Converts all fields."""
    return pb.Netmap(
        generation=update.generation,
        peers=map(_peer_to_proto, update.peers),
        endpoints=map(_endpoint_to_proto, update.endpoints),
        gone_runner_uids=update.gone_peers,
        gone_session_uids=update.gone_endpoints,
        reset=update.reset,
        caught_up=update.caught_up,
        digest=update.digest,
    )


def netmap_update_from_proto(message: pb.Netmap) -> NetmapUpdate:
    """Parses an update.

    Raises InvalidInput with all violations, because runners configure their kernel from these values.
    """
    checks = Checks()
    peers, endpoints = [], []
    checks.require(message.generation >= 0, "generation", f"{message.generation} is negative")
    for index, peer in enumerate(message.peers):
        with checks.nested(f"peers[{index}]"):
            peers.append(_peer_from_proto(peer))
    for index, endpoint in enumerate(message.endpoints):
        with checks.nested(f"endpoints[{index}]"):
            endpoints.append(_endpoint_from_proto(endpoint))
    checks.done()
    return NetmapUpdate(
        generation=message.generation,
        peers=tuple(peers),
        endpoints=tuple(endpoints),
        gone_peers=tuple(message.gone_runner_uids),
        gone_endpoints=tuple(message.gone_session_uids),
        reset=message.reset,
        caught_up=message.caught_up,
        digest=message.digest,
    )


def encoded(update: NetmapUpdate) -> bytes:
    """The serialised ConnectResponse of an update: encoded once, sent to every runner."""
    return pb.ConnectResponse(netmap=netmap_update_to_proto(update)).SerializeToString()


def _peer_to_proto(peer: Peer) -> pb.Peer:
    return pb.Peer(
        runner_uid=peer.runner,
        runner=names.runner_name(peer.name),
        subnet=lease_to_proto(peer.lease),
        mac=peer.mac,
        underlay_addresses=peer.underlay.addresses,
        mtu=peer.underlay.mtu,
        gateway=peer.gateway,
    )


def _peer_from_proto(message: pb.Peer) -> Peer:
    checks, name, underlay = Checks(), "", None
    _require_uid(checks, message.runner_uid, "runner_uid")
    with checks.nested():
        name = names.parse_runner_name(message.runner, "runner")
    checks.require(_is_subnet(message.subnet.cidr), "subnet.cidr", f"{shown(message.subnet.cidr)} is no IPv4 subnet")
    checks.require(message.subnet.epoch > 0, "subnet.epoch", f"{message.subnet.epoch} is not more than 0")
    checks.require(bool(_MAC.fullmatch(message.mac)), "mac", f"{shown(message.mac)} is no MAC address of one device")
    with checks.nested("underlay"):
        underlay = Underlay(tuple(message.underlay_addresses), message.mtu)
    checks.done()
    assert underlay is not None  # noqa: S101 — `done` raised otherwise
    lease = lease_from_proto(message.subnet, message.runner_uid)
    return Peer(message.runner_uid, name, lease, message.mac, underlay, message.gateway)


def _endpoint_to_proto(endpoint: Endpoint) -> pb.Endpoint:
    return pb.Endpoint(
        session_uid=endpoint.session,
        session_id=endpoint.name,
        owner_id=endpoint.owner,
        address=endpoint.address,
        runner_uid=endpoint.runner,
    )


def _endpoint_from_proto(message: pb.Endpoint) -> Endpoint:
    checks = Checks()
    _require_uid(checks, message.session_uid, "session_uid")
    with checks.nested():
        check_label(message.session_id, "session_id", SESSION_NAME_MAX)
    with checks.nested():
        check_label(message.owner_id, "owner_id", USER_NAME_MAX)
    checks.require(_is_address(message.address), "address", f"{shown(message.address)} is no IPv4 address")
    if message.runner_uid:
        _require_uid(checks, message.runner_uid, "runner_uid")
    checks.done()
    return Endpoint(message.session_uid, message.session_id, message.owner_id, message.address, message.runner_uid)


def _require_uid(checks: Checks, uid: str, field: str) -> None:
    good = len(uid) <= _MAX_UID and uid.isascii() and uid.isalnum()
    checks.require(good, field, f"{shown(uid)} is not a uid")


def _is_subnet(text: str) -> bool:
    """Whether the text is a subnet in the canonical form of `ipam`, since subnets are compared as text."""
    try:
        return str(IPv4Network(text)) == text
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        return str(IPv4Address(text)) == text
    except ValueError:
        return False
