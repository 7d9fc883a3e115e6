from __future__ import annotations

from dataclasses import replace

import pytest

from netvps.adapters.filter.rules.bridge import bridge_table
from netvps.adapters.filter.rules.nft import Set, Table
from netvps.domain.overlay.netmap import Endpoint
from netvps.domain.overlay.settings import session_mac
from tests.adapters.filter.rules.nft_model import passes

POOL = "10.128.0.0/10"
ANN, BOB = Endpoint("a", "web", "ann", "10.128.0.2"), Endpoint("b", "web", "bob", "10.128.0.3")


@pytest.fixture
def table() -> Table:
    """Where ann's session is, is known."""
    return bridge_table(POOL, [ANN, BOB], {ANN.address: "veth1", "10.128.0.99": "veth9"})


def test_a_known_port_speaks_for_one_session_and_an_unknown_one_only_for_those_without(table: Table) -> None:
    assert table.sets["ports"] == Set("ifname", frozenset({'"veth1"'}))
    assert table.sets["bound"].elements == {'"veth1" . 02:42:0a:80:00:02 . 10.128.0.2'}
    assert table.sets["unbound"].elements == {"02:42:0a:80:00:03 . 10.128.0.3"}


@pytest.mark.parametrize(
    ("mac", "address", "passed"),
    [
        (session_mac(BOB.address), BOB.address, True),
        (session_mac(ANN.address), ANN.address, False),
        (session_mac("10.191.255.254"), "192.0.2.1", False),
        ("02:42:0a:c0:00:02", "10.192.0.2", True),  # just beyond the pool: another bridge's
        ("02:42:ac:11:00:02", "172.17.0.2", True),
        ("02:42:ac:11:00:02", "10.130.0.2", False),
    ],
)
def test_frames_of_other_bridges_are_recognised_by_addresses_outside_the_pool(
    table: Table, mac: str, address: str, passed: bool
) -> None:
    frame = {"iifname": "veth7", "ether type": "ip", "ether saddr": mac, "ip saddr": address}
    assert passes(table, "prerouting", frame) == passed


def test_frames_of_other_bridges_are_forwarded(table: Table) -> None:
    frame = {"iifname": "veth7", "oifname": "veth8", "ip saddr": "172.17.0.2", "ip daddr": "172.17.0.3"}
    assert passes(table, "forward", frame)
    assert not passes(table, "forward", frame | {"oifname": "veth1"})
    assert not passes(table, "forward", frame | {"ip daddr": ANN.address})


def test_multicast_reaches_known_ports_of_the_senders_owner_alone() -> None:
    anns = [Endpoint(f"a{n}", f"web{n}", "ann", f"10.128.0.{n}") for n in (2, 3, 4)]
    known = {"10.128.0.2": "veth2", "10.128.0.3": "veth3", "10.128.0.9": "veth9"}
    table = bridge_table(POOL, [*anns, replace(BOB, address="10.128.0.9")], known)
    frame = {"iifname": "veth2", "ip saddr": "10.128.0.2", "ip daddr": "239.255.0.1"}
    heard = {
        port for port in ("veth3", "veth4", "veth9", "veth7") if passes(table, "forward", frame | {"oifname": port})
    }
    assert heard == {"veth3"}
    unknown = frame | {"iifname": "veth4", "ip saddr": "10.128.0.4", "oifname": "veth3"}
    assert passes(table, "forward", unknown)
    for address in ("255.255.255.255", "10.128.3.255", "192.0.2.1"):
        assert not passes(table, "forward", frame | {"oifname": "veth3", "ip daddr": address})


def test_an_arp_packet_says_the_same_inside_and_outside(table: Table) -> None:
    mac = session_mac(ANN.address)
    frame = {"iifname": "veth1", "ether type": "arp", "ether saddr": mac, "arp saddr ether": mac}
    frame["arp saddr ip"] = ANN.address
    assert passes(table, "prerouting", frame)
    for lie in (
        {"arp saddr ether": session_mac(BOB.address)},
        {"arp saddr ip": BOB.address},
        {"arp saddr ip": "0.0.0.0"},
    ):
        assert not passes(table, "prerouting", frame | lie)
