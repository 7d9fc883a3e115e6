"""The rules, judged by a model of nftables; with real packets they are tried in tests/adapters/test_nftables.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.adapters.filter.rules.nft import Table
from netvps.adapters.filter.rules.overlay import by_mask, by_prefix, edited, ruleset
from netvps.domain.overlay.change import Tracker
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.settings import OverlaySettings, bridge_address, device_mac, endpoint_address, session_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from netvps.errors import InvalidInput
from tests.adapters.filter.rules.nft_model import Kernel, Packet, passes
from tests.domain.overlay.test_change import ME, PORTS, UPDATES

SETTINGS = OverlaySettings("cluster")
UIDS = ("r0", "r1", "r2")


def _peer(uid: str, *, gateway: bool = False, size: int = 22) -> Peer:
    number = UIDS.index(uid)
    lease = Lease(f"10.128.{4 * number}.0/{size}", uid, 1)
    underlay = Underlay((f"192.0.2.{number + 1}", f"2001:db8::{number + 1}"), 1450)
    return Peer(uid, uid, lease, device_mac(SETTINGS, uid), underlay, gateway)


def _endpoint(address: str, owner: str) -> Endpoint:
    return Endpoint(f"at-{address}", "web", owner, address)


@dataclass(frozen=True)
class Machine:
    """A runner, and its tables as the model made them of the text."""

    peer: Peer
    inet: Table
    bridge: Table


def _machine(netmap: Netmap, uid: str, ports: dict[str, str]) -> Machine:
    peer = netmap.peers[uid]
    kernel = Kernel()
    kernel.feed(ruleset(View(uid, SETTINGS, peer.lease, peer.underlay, netmap), ports).text)
    return Machine(peer, kernel.tables["inet netvps"], kernel.tables["bridge netvps"])


def _home(end: Endpoint) -> str:
    """The runner whose subnet the address is of."""
    return UIDS[int(end.address.split(".")[2]) // 4]


def _moved(draw: st.DrawFn, end: Endpoint) -> Endpoint:
    """Where it is, or on another runner."""
    runner = draw(st.sampled_from(("", "", *UIDS)))
    return end if runner == _home(end) else replace(end, runner=runner)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Netmap, dict[str, str]]:
    """A netmap, and the ports that are known."""
    owners = draw(
        st.dictionaries(
            st.builds("10.128.{}.{}".format, st.sampled_from((0, 4, 8)), st.integers(2, 5)),
            st.sampled_from(("ann", "bob", "0-9")),
            max_size=8,
        )
    )
    gateways = draw(st.sets(st.sampled_from(UIDS)))
    sizes = {uid: draw(st.sampled_from((22, 23, 24))) for uid in UIDS}
    netmap = Netmap().updated(
        NetmapUpdate(
            1,
            tuple(_peer(uid, gateway=uid in gateways, size=sizes[uid]) for uid in UIDS),
            tuple(_moved(draw, _endpoint(address, owner)) for address, owner in owners.items()),
        )
    )
    known = draw(st.sets(st.sampled_from(sorted(owners)))) if owners else set()
    return netmap, {address: f"port-{address}" for address in known}


def _sent(sender: str, receiver: str, ports: dict[str, str]) -> Packet:
    """As it comes from a session."""
    port = ports.get(sender, "veth1")
    macs = {"ether saddr": session_mac(sender), "ether daddr": session_mac(receiver)}
    return {"iifname": port, "ether type": "ip", "ip saddr": sender, "ip daddr": receiver, "ct state": "new"} | macs


def _routed(machine: Machine, packet: Packet, iif: str, oif: str) -> bool:
    packet = packet | {"iifname": iif, "oifname": oif}
    chains = ("prerouting", "forward")
    return all(passes(machine.inet, chain, packet) for chain in chains)


def _leaves(machine: Machine, packet: Packet) -> bool:
    """Whether it gets from a session into the tunnel."""
    return passes(machine.bridge, "prerouting", packet) and _routed(machine, packet, "nvbr0", "nv0")


def _arrives(machine: Machine, sender: Peer, packet: Packet) -> bool:
    """Whether it gets from the tunnel to a session."""
    mac = {"ether saddr": sender.mac}
    outer = [_tunnelled(sender.mac, address) for address in sender.underlay.addresses]
    return all(passes(machine.inet, "input", packet) for packet in outer) and _routed(
        machine, packet | mac, "nv0", "nvbr0"
    )


def _tunnelled(mac: str, address: str, order: Literal["big", "little"] = "big") -> Packet:
    """The outer packet; bytes are read in an order that is nft's own affair."""
    end = int.from_bytes(bytes.fromhex(mac.replace(":", ""))[2:], order)
    kind = "ip6 saddr" if ":" in address else "ip saddr"
    return {"iifname": "eth0", "udp dport": "14789", "@th,192,32": str(end), "meta mark": "7", kind: address}


@settings(max_examples=25)
@given(clusters(), st.booleans())
def test_sessions_reach_each_other_if_their_owner_is_the_same(
    cluster: tuple[Netmap, dict[str, str]], br_netfilter: bool
) -> None:
    netmap, ports = cluster
    machines = {uid: _machine(netmap, uid, ports) for uid in UIDS}
    ends = list(netmap.endpoints.values())
    for one, other in ((one, other) for one in ends for other in ends if one != other):
        here, there = (machines[end.runner or _home(end)] for end in (one, other))
        packet = _sent(one.address, other.address, ports)
        if here is there:
            over = packet | {"oifname": ports.get(other.address, "veth2")}
            arp = {"ether type": "arp", "ether saddr": packet["ether saddr"], "arp saddr ether": packet["ether saddr"]}
            arp |= {"iifname": over["iifname"], "oifname": over["oifname"]}
            arp |= {"arp saddr ip": one.address, "arp daddr ip": other.address}
            for frame in (over, arp):
                passed = all(passes(here.bridge, chain, frame) for chain in ("prerouting", "forward"))
                assert passed == (one.owner == other.owner), frame
            routed = br_netfilter or one.runner or other.runner
            reached = _routed(here, packet, "nvbr0", "nvbr0") if routed else one.owner == other.owner
        else:
            reached = _arrives(there, here.peer, packet)
            assert _leaves(here, packet) == reached
        assert reached == (one.owner == other.owner), (one, other)


@settings(max_examples=25)
@given(clusters())
def test_a_gateway_reaches_ssh_of_all_sessions_and_they_answer_and_no_other_runner_does(
    cluster: tuple[Netmap, dict[str, str]],
) -> None:
    netmap, ports = cluster
    machines = {uid: _machine(netmap, uid, ports) for uid in UIDS}
    for end in netmap.endpoints.values():
        machine = machines[end.runner or _home(end)]
        for peer in (m.peer for m in machines.values() if m is not machine):
            for address in (endpoint_address(peer.lease.cidr), bridge_address(peer.lease.cidr)):
                asks = {"ip saddr": address, "ip daddr": end.address, "ct state": "new"}
                assert not _arrives(machine, peer, asks)
                for open_ in ({"tcp dport": "22"}, {"icmp type": "echo-request"}):
                    assert _arrives(machine, peer, asks | open_) == peer.gateway
                for closed in ({"tcp dport": "80"}, {"udp dport": "22"}, {"icmp type": "timestamp-request"}):
                    assert not _arrives(machine, peer, asks | closed)
                    assert not _arrives(machine, peer, asks | closed | {"ct state": "established"})
                answers = _sent(end.address, address, ports)
                assert not _leaves(machine, answers)
                assert _leaves(machine, answers | {"ct state": "established"}) == peer.gateway


NETMAP = Netmap().updated(
    NetmapUpdate(
        1,
        tuple(_peer(uid, gateway=uid == "r2") for uid in UIDS),
        (_endpoint("10.128.0.2", "ann"), _endpoint("10.128.0.3", "bob"), _endpoint("10.128.4.2", "ann")),
    )
)
HERE = _machine(NETMAP, "r0", {"10.128.0.2": "veth1"})
ANN, BOB = "10.128.0.2", "10.128.0.3"
PAIR = {"ether saddr": session_mac(ANN), "ip saddr": ANN}


@pytest.mark.parametrize(
    "change",
    [
        {"ip saddr": BOB},
        {"ether saddr": session_mac(BOB)},
        {"ether saddr": session_mac(BOB), "ip saddr": BOB},
        {"ip saddr": "10.128.4.2"},
        {"ip saddr": "192.0.2.77"},
        {"iifname": "veth9"},
        {"ether type": "ip6"},
        {"ether type": "vlan"},
    ],
    ids=str,
)
def test_a_session_speaks_for_itself_alone(change: Packet) -> None:
    frame = {"iifname": "veth1", "ether type": "ip", **PAIR}
    assert passes(HERE.bridge, "prerouting", frame)
    assert not passes(HERE.bridge, "prerouting", frame | change)


@pytest.mark.parametrize(
    ("packet", "passed"),
    [
        ({"ip daddr": "10.128.0.1", "udp dport": "53"}, True),
        ({"ip daddr": "10.128.0.1", "tcp dport": "53"}, True),
        ({"ip daddr": "10.128.0.1", "icmp type": "echo-request"}, True),
        ({"ip daddr": "10.128.0.1", "tcp dport": "7444"}, False),
        ({"ip daddr": "192.0.2.1", "udp dport": "53"}, False),
        ({"ip daddr": "192.0.2.1", "tcp dport": "7444"}, False),
        ({"ip daddr": "192.0.2.1", "tcp dport": "40000", "ct state": "established"}, True),
        ({"ip daddr": "192.0.2.1", "udp dport": "14789"}, False),
        ({"iifname": "nv0", "ip daddr": "10.128.0.1", "udp dport": "53"}, False),
        ({"iifname": "nv0", "ip saddr": "10.128.4.0", "ip daddr": "10.128.0.0", "tcp dport": "14789"}, True),
        ({"iifname": "nv0", "ip saddr": "10.128.4.0", "ip daddr": "10.128.0.1", "tcp dport": "14789"}, False),
        ({"iifname": "nv0", "ip saddr": "10.128.4.0", "ip daddr": "10.128.0.0", "tcp dport": "7444"}, False),
        ({"iifname": "nv0", "ip saddr": "10.128.4.2", "ip daddr": "10.128.0.0", "tcp dport": "14789"}, False),
        ({"ip daddr": "10.128.0.0", "tcp dport": "14789"}, False),
        ({"iifname": "eth0", "ip daddr": "192.0.2.1", "tcp dport": "7444"}, True),
    ],
    ids=str,
)
def test_what_a_runner_lets_in(packet: Packet, passed: bool) -> None:
    assert passes(HERE.inet, "input", {"iifname": "nvbr0", "ct state": "new", **PAIR} | packet) == passed


@pytest.mark.parametrize("known", ["ether saddr", "ip saddr"])
def test_a_runner_is_believed_only_what_is_its_own(known: str) -> None:
    mine = {"ether saddr": device_mac(SETTINGS, "r1"), "ip saddr": "10.128.4.2"}
    others = {"ether saddr": device_mac(SETTINGS, "r2"), "ip saddr": "10.128.8.2"}
    assert passes(HERE.inet, "prerouting", {"iifname": "nv0"} | mine)
    assert not passes(HERE.inet, "prerouting", {"iifname": "nv0"} | others | {known: mine[known]})


def test_a_moved_address_is_believed_of_the_runner_that_it_moved_to_and_of_no_other() -> None:
    r0, r1, r2 = (device_mac(SETTINGS, uid) for uid in UIDS)
    there, here = (
        replace(_endpoint("10.128.4.9", "ann"), runner="r2"),
        replace(_endpoint("10.128.4.8", "ann"), runner="r0"),
    )
    machine = _machine(NETMAP.updated(NetmapUpdate(2, endpoints=(there, here))), "r0", {})
    for address, believed in ((there.address, {r2}), (here.address, set()), ("10.128.4.2", {r1})):
        for mac in (r0, r1, r2):
            packet = {"iifname": "nv0", "ether saddr": mac, "ip saddr": address}
            assert passes(machine.inet, "prerouting", packet) == (mac in believed), (address, mac)
    mine = {"iifname": "nvbr0", "ether saddr": session_mac(here.address), "ip saddr": here.address}
    assert passes(machine.inet, "prerouting", mine)
    assert not passes(machine.inet, "prerouting", mine | {"ip saddr": there.address})
    assert not passes(
        machine.inet, "prerouting", mine | {"ether saddr": session_mac(there.address)} | {"ip saddr": there.address}
    )


@pytest.mark.parametrize(
    ("size", "last"), [(21, "10.128.15.254"), (22, "10.128.11.254"), (23, "10.128.9.254"), (24, "10.128.8.254")]
)
def test_so_is_one_whose_subnet_is_of_another_size(size: int, last: str) -> None:
    machine = _machine(NETMAP.updated(NetmapUpdate(2, (_peer("r2", size=size),))), "r0", {})
    mac, after = device_mac(SETTINGS, "r2"), str(ip_address(last) + 2)
    for source, passed in (("10.128.8.0", True), (last, True), (after, False), ("10.128.7.255", False)):
        assert passes(machine.inet, "prerouting", {"iifname": "nv0", "ether saddr": mac, "ip saddr": source}) == passed
    others = {"ether saddr": device_mac(SETTINGS, "r1"), "ip saddr": "10.128.8.2"}
    assert not passes(machine.inet, "prerouting", {"iifname": "nv0"} | others)


def test_a_runner_of_another_size_than_all_others_believes_them() -> None:
    machine = _machine(NETMAP.updated(NetmapUpdate(2, (_peer("r0", size=23),))), "r0", {})
    for uid, source, passed in (("r1", "10.128.7.254", True), ("r1", "10.128.8.2", False), ("r2", "10.128.8.2", True)):
        packet = {"iifname": "nv0", "ether saddr": device_mac(SETTINGS, uid), "ip saddr": source}
        assert passes(machine.inet, "prerouting", packet) == passed


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
def test_a_tunnel_is_heard_only_from_the_runner_whose_mac_is_in_it(
    version: int, order: Literal["big", "little"]
) -> None:
    one, two = (_peer(uid) for uid in ("r1", "r2"))
    for sender, carrier, passed in ((one, one, True), (two, one, False), (_peer("r0"), one, False)):
        packet = _tunnelled(carrier.mac, sender.underlay.addresses[version], order)
        assert passes(HERE.inet, "input", packet) == passed
    assert not passes(HERE.inet, "input", _tunnelled(one.mac, ("192.0.2.99", "2001:db8::99")[version], order))


def test_machines_that_had_one_address_after_another_are_both_believed_there() -> None:
    moved = replace(_peer("r1"), underlay=_peer("r2").underlay)
    machine = _machine(NETMAP.updated(NetmapUpdate(2, (moved,))), "r0", {})
    for uid, passed in (("r0", False), ("r1", True), ("r2", True)):
        assert passes(machine.inet, "input", _tunnelled(device_mac(SETTINGS, uid), "192.0.2.3")) == passed


@pytest.mark.parametrize(
    ("packet", "passed"),
    [
        ({"iifname": "nvbr0", "oifname": "eth0", "ip daddr": "198.51.100.1"}, True),
        ({"iifname": "nvbr0", "oifname": "docker0", "ip daddr": "172.17.0.2", "ct status": "dnat"}, False),
        ({"iifname": "eth0", "oifname": "docker0", "ip daddr": "172.17.0.2", "ct status": "dnat"}, True),
        ({"iifname": "nvbr0", "oifname": "eth0", "ip daddr": "192.0.2.2", "udp dport": "14789"}, False),
        ({"iifname": "eth0", "oifname": "eth1", "ip daddr": "192.0.2.2", "udp dport": "14789"}, True),
        ({"iifname": "nv0", "oifname": "nvbr0", "ip saddr": "10.128.4.0", "icmp type": "time-exceeded"}, True),
        ({"iifname": "nv0", "oifname": "nvbr0", "ip saddr": "10.128.4.0", "icmp type": "echo-request"}, False),
        ({"iifname": "nv0", "oifname": "nvbr0", "ip saddr": "10.128.4.3", "icmp type": "time-exceeded"}, False),
        ({"iifname": "nvbr0", "oifname": "eth0", "ip daddr": "10.150.0.1"}, False),
        ({"iifname": "nvbr0", "oifname": "br-1", "ip daddr": "172.30.0.2"}, False),
        ({"iifname": "nvbr0", "oifname": "eth0", "ip daddr": "169.254.169.254"}, False),
        ({"iifname": "eth0", "oifname": "nvbr0", "ip daddr": ANN}, False),
        ({"iifname": "eth0", "oifname": "nvbr0", "ip daddr": ANN, "ct state": "established"}, True),
        ({"iifname": "docker0", "oifname": "nv0", "ip daddr": "10.128.4.2"}, False),
        ({"iifname": "nv0", "oifname": "eth0", "ip daddr": "198.51.100.1"}, False),
        ({"iifname": "docker0", "oifname": "eth0", "ip daddr": "198.51.100.1"}, True),
    ],
    ids=str,
)
def test_what_a_runner_forwards_to_and_from_the_outside(packet: Packet, passed: bool) -> None:
    assert passes(HERE.inet, "forward", {"ct state": "new", "ip daddr": ANN, **PAIR} | packet) == passed


def test_of_two_owners_with_one_address_the_one_of_the_newer_session_has_it() -> None:
    twice = Endpoint("at-10.128.0.2-later", "db", "bob", ANN)
    machine = _machine(NETMAP.updated(NetmapUpdate(2, endpoints=(twice,))), "r0", {ANN: "veth1"})
    packet = {"iifname": "nvbr0", "oifname": "nvbr0", **PAIR}
    for neighbour, passed in ((BOB, True), ("10.128.4.2", False)):
        assert passes(machine.inet, "forward", packet | {"ip daddr": neighbour, "ct state": "new"}) == passed


def test_an_owner_that_nft_would_read_is_refused() -> None:
    netmap = NETMAP.updated(NetmapUpdate(2, endpoints=(_endpoint("10.128.0.4", "x; flush ruleset"),)))
    with pytest.raises(InvalidInput, match="is not a name"):
        _machine(netmap, "r0", {})


def test_a_session_that_comes_is_a_handful_of_elements() -> None:
    peer = NETMAP.peers["r0"]
    old, new = (
        ruleset(View("r0", SETTINGS, peer.lease, peer.underlay, netmap))
        for netmap in (NETMAP, NETMAP.updated(NetmapUpdate(2, endpoints=(_endpoint("10.128.0.9", "ann"),))))
    )
    lines = new.changes_from(old).text.splitlines()
    assert len(lines) == 7
    assert all(line.startswith("add element") and "10.128.0.9" in line for line in lines), lines


CIDRS = ("10.128.0.0/22", "10.128.4.0/22", "10.128.8.0/23", "10.144.0.0/16")


def subnet_view(here: int) -> View:
    peers = [
        Peer(f"r{n}", f"box{n}", Lease(cidr, f"r{n}", 1), f"02:00:00:00:00:0{n}", Underlay((f"192.0.2.{n}",), 1450))
        for n, cidr in enumerate(CIDRS)
    ]
    netmap = Netmap().updated(NetmapUpdate(1, tuple(peers)))
    return View(f"r{here}", OverlaySettings("cluster"), peers[here].lease, peers[here].underlay, netmap)


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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(UPDATES, PORTS), min_size=1, max_size=6), PORTS)
def test_it_leads_where_all_of_the_new_rules_do(
    history: Sequence[tuple[NetmapUpdate, dict[str, str]]], bound: dict[str, str]
) -> None:
    tracker = Tracker()
    view = View("r0", OverlaySettings("c"), ME.lease, ME.underlay, Netmap())
    tracker.follow(view)
    kernel = Kernel()
    kernel.feed(ruleset(view, bound).text)
    for update, ports in history:
        view = View("r0", OverlaySettings("c"), ME.lease, ME.underlay, view.netmap.updated(update))
        if change := tracker.follow(view):
            kernel.feed(edited(ruleset, change, view, bound, ports).text)
        else:
            kernel.feed(ruleset(view, ports).text)
        assert kernel.ruleset == ruleset(view, ports)
        bound = ports
