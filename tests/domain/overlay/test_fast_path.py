"""The fast path, judged by a model of nftables: it takes no packet that the filter would not let through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain.overlay.fabric import Fabric, bridge_address, device_mac, endpoint_address, session_mac
from netvps.domain.overlay.fast_path import fast_path
from netvps.domain.overlay.filter import ruleset
from netvps.domain.overlay.health import Health
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.nft import Table
from netvps.domain.overlay.view import View
from netvps.domain.runner import Lease, Underlay
from tests.domain.overlay.nft_model import Kernel, Packet, passes, sent

FABRIC = Fabric("cluster")
MTU = 1450
ANN, BOB, ANNS, BOBS = "10.128.0.2", "10.128.0.3", "10.128.4.2", "10.128.4.3"
OWNERS = {ANN: "ann", BOB: "bob", ANNS: "ann", BOBS: "bob", "10.128.0.5": "ann", "10.128.8.2": "ann"}
PORTS = {ANN: "veth1", BOB: "veth2"}


def _peer(number: int, **changes: object) -> Peer:
    uid = f"r{number}"
    lease = Lease(f"10.128.{4 * number}.0/22", uid, 1)
    peer = Peer(uid, uid, lease, device_mac(FABRIC, uid), Underlay((f"192.0.2.{number + 1}",), MTU))
    return replace(peer, **changes)  # type: ignore[arg-type]


PEERS = (_peer(0), _peer(1), _peer(2))


def _netmap(owners: dict[str, str], peers: tuple[Peer, ...] = PEERS) -> Netmap:
    ends = tuple(Endpoint(f"at-{address}", "web", owner, address) for address, owner in owners.items())
    return Netmap().updated(NetmapUpdate(1, peers, ends))


@dataclass(frozen=True)
class Machine:
    """The first runner, and its tables as the model made them of the text."""

    fast: Table
    inet: Table
    bridge: Table

    def sends(self, packet: Packet) -> tuple[str, str] | None:
        """Chains are of the link that a packet comes in by."""
        hook = f'type filter hook ingress device "{packet["iifname"]}" priority 0'
        chains = [name for name, chain in self.fast.chains.items() if chain.hook == hook]
        return next(filter(None, (sent(self.fast, name, packet) for name in chains)), None)

    def lets(self, packet: Packet) -> bool:
        """Whether the filter lets it through to the link that it is for."""
        if packet["iifname"] == "nv0":
            routed = packet | {"oifname": "nvbr0"}
        elif passes(self.bridge, "prerouting", packet):
            routed = packet | {"iifname": "nvbr0", "oifname": "nv0"}
        else:
            return False
        return all(passes(self.inet, chain, routed | {"ct state": "new"}) for chain in ("prerouting", "forward"))


def _machine(netmap: Netmap, ports: dict[str, str], health: Health | None = None) -> Machine:
    here, kernel = PEERS[0], Kernel()
    view = View(here.runner, FABRIC, here.lease, here.underlay, netmap, health or Health())
    for rules in (fast_path(view, ports), ruleset(view, ports)):
        kernel.feed(rules.text)
    return Machine(*(kernel.tables[f"{family} netvps"] for family in ("netdev", "inet", "bridge")))


HEAD = {"ether type": "ip", "@nh,0,8": "0x45", "ip frag-off": "0x0", "ip ttl": "64", "meta length": "1450"}
UDP = HEAD | {"meta l4proto": "udp"}
TCP = HEAD | {"meta l4proto": "tcp", "tcp flags": "ack"}


def _leaving(source: str, target: str) -> Packet:
    macs = {"ether saddr": session_mac(source), "ether daddr": session_mac(bridge_address(PEERS[0].lease.cidr))}
    return {"iifname": PORTS.get(source, "veth9"), "ip saddr": source, "ip daddr": target} | macs


def _arriving(source: str, target: str, carrier: int = 1) -> Packet:
    macs = {"ether saddr": PEERS[carrier].mac, "ether daddr": PEERS[0].mac}
    return {"iifname": "nv0", "ip saddr": source, "ip daddr": target} | macs


HERE = _machine(_netmap(OWNERS), PORTS)


@pytest.mark.parametrize("kind", [UDP, TCP, TCP | {"meta length": "64000"}], ids=["udp", "tcp", "joined"])
def test_packets_between_sessions_of_one_owner_are_sent_on_at_once(kind: Packet) -> None:
    assert HERE.sends(kind | _leaving(ANN, ANNS)) == ("10.128.4.0", "nv0")
    assert HERE.sends(kind | _arriving(ANNS, ANN)) == (ANN, "nvbr0")


@pytest.mark.parametrize(
    "odd",
    [
        TCP | {"tcp flags": "syn"},
        UDP | {"meta length": "1451"},
        TCP | {"meta length": "1451"},
        UDP | {"ip ttl": "1"},
        UDP | {"@nh,0,8": "0x46"},
        UDP | {"ether type": "vlan"},
    ],
    ids=["syn", "too long", "too long for tcp, too", "too far", "options", "vlan"],
)
def test_what_is_out_of_the_ordinary_goes_the_long_way(odd: Packet) -> None:
    assert HERE.sends(odd | _leaving(ANN, ANNS)) is None
    assert HERE.sends(odd | _arriving(ANNS, ANN)) is None


@pytest.mark.parametrize("fragment", ["0x2000", "0x00b9", "0x1fff"])
def test_fragments_go_the_long_way_and_what_must_not_be_one_does_not(fragment: str) -> None:
    assert HERE.sends(UDP | _leaving(ANN, ANNS) | {"ip frag-off": "0x4000"})
    assert HERE.sends(UDP | _leaving(ANN, ANNS) | {"ip frag-off": fragment}) is None


@pytest.mark.parametrize(
    "packet",
    [
        _leaving(ANN, BOBS),
        _leaving(ANN, BOB),
        _leaving(ANN, "10.128.0.5"),
        _leaving(ANN, "198.51.100.1"),
        _leaving(ANN, endpoint_address(PEERS[1].lease.cidr)),
        _leaving(ANN, ANNS) | {"iifname": "veth2"},
        _leaving(ANN, ANNS) | {"ether saddr": session_mac(BOB)},
        _leaving(ANN, ANNS) | {"ip saddr": "10.128.0.5"},
        _leaving(ANN, ANNS) | {"ether daddr": session_mac("10.128.0.5")},
        _leaving("10.128.0.5", ANNS),
        _arriving(BOBS, ANN),
        _arriving(ANNS, ANN, carrier=2),
        _arriving("10.128.8.2", ANN),
        _arriving("10.128.0.5", ANN),
        _arriving(endpoint_address(PEERS[1].lease.cidr), ANN),
        _arriving(ANNS, bridge_address(PEERS[0].lease.cidr)),
        _arriving(ANNS, ANN) | {"ether daddr": PEERS[2].mac},
    ],
    ids=str,
)
def test_what_is_not_between_known_sessions_of_one_owner_goes_the_long_way(packet: Packet) -> None:
    assert HERE.sends(UDP | packet) is None


@pytest.mark.parametrize(
    ("peer", "health"),
    [
        (PEERS[1], Health({"r1": 1400})),
        (_peer(1, underlay=Underlay(("192.0.2.2",), 1400)), Health()),
        (_peer(1, underlay=Underlay(("2001:db8::2",), MTU)), Health()),
    ],
    ids=["as measured", "by its own word", "over IPv6 alone"],
)
def test_where_a_route_takes_less_or_is_none_packets_go_the_long_way(peer: Peer, health: Health) -> None:
    machine = _machine(_netmap(OWNERS, (PEERS[0], peer, PEERS[2])), PORTS, health)
    assert machine.sends(TCP | _leaving(ANN, ANNS)) is None
    assert machine.sends(TCP | _leaving(ANN, "10.128.8.2")) == ("10.128.8.0", "nv0")


def test_a_subnet_of_another_size_goes_the_long_way() -> None:
    other = _peer(1, lease=Lease("10.128.4.0/23", "r1", 1))
    machine = _machine(_netmap(OWNERS, (PEERS[0], other, PEERS[2])), PORTS)
    assert machine.sends(TCP | _leaving(ANN, ANNS)) is None
    assert machine.sends(TCP | _arriving(ANNS, ANN)) is None


def test_a_link_that_no_chain_can_be_named_after_has_none() -> None:
    machine = _machine(_netmap(OWNERS), {ANN: "1; flush ruleset", BOB: "veth2"})
    assert [name for name in machine.fast.chains if name.startswith("port-")] == [f"port-veth2-{BOB}"]


NAMES = """
    arriving between bound forward gateways input leaving outside output owners pairs ports prerouting receivers runners
    senders senders6 sources subnets unbound ways
"""


def test_no_chain_or_set_has_a_name_that_nft_reads_as_its_own() -> None:
    """These were tried with 0.9.8 and 1.1.3. The older one has more such words: "tunnel" is one; few have a hyphen."""
    tables = (HERE.fast, HERE.inet, HERE.bridge)
    names = {name for table in tables for name in (*table.sets, *table.chains) if "-" not in name}
    assert names == {*NAMES.split()}


ADDRESSES = st.builds("10.128.{}.{}".format, st.sampled_from((0, 4, 6, 8)), st.integers(0, 4))
SIZES = st.fixed_dictionaries({}, optional={1: st.sampled_from((22, 22, 23)), 2: st.sampled_from((21, 22, 22))})
"""Lengths of the prefixes of those of the other runners that there are, by their numbers."""
LINKS = {f"10.128.0.{number}": f"veth{number}" for number in (2, 3, 4)}
FRAMES = [
    UDP | {"ether saddr": sender, "ether daddr": receiver, "iifname": link}
    for sender in [*map(session_mac, LINKS), *(peer.mac for peer in PEERS)]
    for receiver in (session_mac(bridge_address(PEERS[0].lease.cidr)), PEERS[0].mac)
    for link in [*LINKS.values(), "nv0"]
]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(ADDRESSES, st.sampled_from(("ann", "bob")), max_size=9),
    SIZES,
    ADDRESSES,
    ADDRESSES,
)
def test_it_takes_nothing_that_the_filter_would_not_let_through(
    owners: dict[str, str], others: dict[int, int], source: str, target: str
) -> None:
    leases = {number: Lease(f"10.128.{4 * number}.0/{size}", f"r{number}", 1) for number, size in others.items()}
    peers = (_peer(number, lease=lease) for number, lease in leases.items())
    machine = _machine(_netmap(owners, (PEERS[0], *peers)), LINKS)
    for frame in FRAMES:
        packet = frame | {"ip saddr": source, "ip daddr": target}
        if way := machine.sends(packet):
            assert machine.lets(packet)
            hop = target if packet["iifname"] == "nv0" else str(ip_network(f"{target}/22", strict=False)[0])
            assert way == (hop, "nvbr0" if packet["iifname"] == "nv0" else "nv0")
