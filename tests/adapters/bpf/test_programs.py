"""The two programs in a real kernel, a frame at a time: they take nothing that the filter would not let through."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netvps.adapters.bpf.programs import arriving, leaving
from netvps.adapters.bpf.syscall import Program
from netvps.adapters.bpf.tables import Tables
from netvps.adapters.filter.rules.nft import Table
from netvps.adapters.filter.rules.overlay import ruleset
from netvps.domain.overlay.kernel.fast_path import fast_path
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.peer_health import Health
from netvps.domain.overlay.settings import OverlaySettings, bridge_address, device_mac, endpoint_address, session_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from tests.adapters.bpf.kernel import REDIRECTED, SLOW_PATH, run
from tests.adapters.filter.rules.nft_model import Kernel, Packet, passes
from tests.adapters.filter.site.frames import ether, ipv4
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.netns
SETTINGS, MTU, SYN, ACK = OverlaySettings("cluster"), 1450, 0x02, 0x10
ANN, BOB, ANNS, BOBS, NEAR, FAR = "10.128.0.2", "10.128.0.3", "10.128.4.2", "10.128.4.3", "10.128.0.5", "10.128.8.2"
OWNERS = {ANN: "ann", BOB: "bob", ANNS: "ann", BOBS: "bob", NEAR: "ann", FAR: "ann"}
UDP, TCP = 17, 6
LINKS = {ANN: 11, BOB: 12}
"""Indexes in the namespace `place`, whose loopback is the first; what is at the VXLAN device comes in by that."""
DEVICE = 1


def _peer(number: int) -> Peer:
    uid = f"r{number}"
    lease = Lease(f"10.128.{4 * number}.0/22", uid, 1)
    return Peer(uid, uid, lease, device_mac(SETTINGS, uid), Underlay((f"192.0.2.{number + 1}",), MTU))


PEERS = (_peer(0), _peer(1), _peer(2))
BRIDGE = session_mac(bridge_address(PEERS[0].lease.cidr))


def _view(owners: Mapping[str, str] = OWNERS, peers: tuple[Peer, ...] = PEERS, health: Health | None = None) -> View:
    ends = tuple(Endpoint(f"at-{address}", "web", owner, address) for address, owner in owners.items())
    netmap = Netmap().updated(NetmapUpdate(1, peers, ends))
    return View("r0", SETTINGS, PEERS[0].lease, PEERS[0].underlay, netmap, health or Health())


class Machine:
    """The first runner's programs, in the namespace that the thread is in."""

    def __init__(self) -> None:
        self.tables = Tables()
        terms = fast_path(_view()).terms
        self._leaving = Program(leaving(terms, self.tables.maps), "leaving")
        self._arriving = Program(arriving(terms, self.tables.maps), "arriving")

    def be(self, view: View, links: Mapping[str, int] = LINKS) -> None:
        self.tables.be(fast_path(view))
        self.tables.lead(DEVICE, links)

    def takes(self, link: int, frame: bytes, segment: int = 0) -> bytes | None:
        """What it makes of a frame; None: it takes the slow path, unchanged."""
        program = self._arriving if link == DEVICE else self._leaving
        said, made = run(program.descriptor, frame, link, segment)
        assert said in {REDIRECTED, SLOW_PATH}
        assert said == REDIRECTED or made == frame
        return made if said == REDIRECTED else None

    def close(self) -> None:
        for each in (self._leaving, self._arriving, self.tables):
            each.close()


@pytest.fixture(scope="module")
def machine(place: Namespace) -> Iterator[Machine]:
    with place.inside():
        made = Machine()
        yield made
        made.close()


@contextmanager
def _known(machine: Machine, view: View) -> Iterator[None]:
    machine.be(view)
    yield
    machine.be(_view())


@pytest.fixture(autouse=True)
def _as_usual(machine: Machine) -> None:
    machine.be(_view())


@dataclass(frozen=True)
class Sent:
    """A frame, by what matters; it is as long as `size` without Ethernet."""

    link: int
    source: str
    target: str
    source_mac: str
    target_mac: str
    protocol: int = UDP
    flags: int = ACK
    size: int = 200

    def frame(self) -> bytes:
        tcp = struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 5 << 4, self.flags, 5, 0, 0)
        head = tcp if self.protocol == TCP else struct.pack("!HHHH", 40000, 7000, self.size - 20, 0)
        payload = head + bytes(self.size - 20 - len(head))
        return ether(self.source_mac, self.target_mac, ipv4(self.source, self.target, payload, self.protocol))


def _leaves(source: str = ANN, target: str = ANNS, **changes: object) -> Sent:
    sent = Sent(LINKS.get(source, 11), source, target, session_mac(source), BRIDGE)
    return replace(sent, **changes)  # type: ignore[arg-type]


def _arrives(source: str = ANNS, target: str = ANN, carrier: int = 1, **changes: object) -> Sent:
    sent = Sent(DEVICE, source, target, PEERS[carrier].mac, PEERS[0].mac)
    return replace(sent, **changes)  # type: ignore[arg-type]


def _is_right(before: bytes, after: bytes, source_mac: str, target_mac: str) -> bool:
    """Between the right MACs, with one less to live, a checksum that fits, and all else as it was."""
    words = struct.unpack("!10H", after[14:34])
    macs = bytes.fromhex((target_mac + source_mac).replace(":", ""))
    same = after[12:22] + after[23:24] + after[26:] == before[12:22] + before[23:24] + before[26:]
    return after[:12] == macs and after[22] == before[22] - 1 and sum(words) % 0xFFFF == 0 and same


@pytest.mark.parametrize("kind", [{}, {"protocol": TCP}, {"size": MTU}, {"protocol": TCP, "size": MTU}], ids=str)
def test_packets_between_sessions_of_one_owner_are_sent_on(machine: Machine, kind: dict[str, Any]) -> None:
    for sent, macs in (
        (_leaves(**kind), (PEERS[0].mac, PEERS[1].mac)),
        (_arrives(**kind), (BRIDGE, session_mac(ANN))),
    ):
        made = machine.takes(sent.link, sent.frame())
        assert made
        assert _is_right(sent.frame(), made, *macs)


@pytest.mark.parametrize("checksum", [0x0000, 0x0001, 0x00FF, 0x1234, 0xFEFF, 0xFF00, 0xFFFE, 0xFFFF], ids=hex)
def test_whatever_the_checksum_is_it_fits_afterwards(machine: Machine, checksum: int) -> None:
    frame = bytearray(_leaves().frame())
    frame[18:20], frame[24:26] = bytes(2), struct.pack("!H", checksum)
    frame[18:20] = struct.pack("!H", -sum(struct.unpack("!10H", frame[14:34])) % 0xFFFF)  # an identification
    made = machine.takes(LINKS[ANN], bytes(frame))
    assert made
    assert _is_right(bytes(frame), made, PEERS[0].mac, PEERS[1].mac)


@pytest.mark.parametrize(
    ("changed", "segment"),
    [
        ({"protocol": TCP, "flags": SYN}, 0),
        ({"protocol": TCP, "flags": SYN | ACK}, 0),
        ({"size": MTU + 1}, 0),
        ({"size": MTU + 1}, 1000),
        ({"protocol": TCP, "size": MTU + 1}, 0),
        ({"protocol": TCP, "size": 2000}, MTU - 40 + 1),
    ],
    ids=["syn", "syn and ack", "too long", "parts of udp", "tcp too long", "parts of tcp too long"],
)
def test_what_the_long_way_decides_on_goes_there(machine: Machine, changed: dict[str, Any], segment: int) -> None:
    for sent in (_leaves(**changed), _arrives(**changed)):
        assert machine.takes(sent.link, sent.frame(), segment) is None


def test_parts_of_tcp_that_fit_are_sent_on_joined(machine: Machine) -> None:
    for sent in (_leaves(protocol=TCP, size=2000), _arrives(protocol=TCP, size=2000)):
        assert machine.takes(sent.link, sent.frame(), MTU - 40)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (12, b"\x86\xdd"),
        (12, b"\x81\x00"),
        (14, b"\x46"),
        (14, b"\x65"),
        (20, b"\x20\0"),
        (20, b"\0\xb9"),
        (22, b"\1"),
        (22, b"\0"),
    ],
    ids=["ipv6", "vlan", "options", "version", "first fragment", "last fragment", "one to live", "none to live"],
)
def test_what_is_out_of_the_ordinary_goes_the_long_way(machine: Machine, at: int, value: bytes) -> None:
    for sent in (_leaves(), _arrives()):
        frame = sent.frame()
        assert machine.takes(sent.link, frame)
        assert machine.takes(sent.link, frame[:at] + value + frame[at + len(value) :]) is None


@pytest.mark.parametrize("size", [34, 47, 53])
def test_what_is_cut_short_goes_the_long_way(machine: Machine, size: int) -> None:
    for sent in (_leaves(protocol=TCP), _arrives(protocol=TCP)):
        assert machine.takes(sent.link, sent.frame()[:size]) is None


@pytest.mark.parametrize(
    "sent",
    [
        _leaves(target=BOBS),
        _leaves(target=BOB),
        _leaves(target=NEAR),
        _leaves(target="198.51.100.1"),
        _leaves(target=endpoint_address(PEERS[1].lease.cidr)),
        _leaves(target="0.0.0.0"),
        _leaves(link=LINKS[BOB]),
        _leaves(link=DEVICE),
        _leaves(source_mac=session_mac(BOB)),
        _leaves(source_mac="02:43" + session_mac(ANN)[5:]),
        _leaves(source=NEAR),
        _leaves(target_mac=session_mac(NEAR)),
        _leaves(target_mac=BRIDGE[:-2] + "09"),
        _arrives(BOBS),
        _arrives(ANNS, BOB),
        _arrives(ANNS, NEAR),
        _arrives(carrier=2),
        _arrives(FAR),
        _arrives(NEAR),
        _arrives(endpoint_address(PEERS[1].lease.cidr)),
        _arrives(target=bridge_address(PEERS[0].lease.cidr)),
        _arrives(target="0.0.0.0"),
        _arrives(target_mac=PEERS[2].mac),
        _arrives(source_mac=PEERS[1].mac[:-2] + ("00" if PEERS[1].mac[-2:] != "00" else "01")),
        _arrives(source_mac="06" + PEERS[1].mac[2:]),
    ],
    ids=str,
)
def test_what_is_not_between_known_sessions_of_one_owner_goes_the_long_way(machine: Machine, sent: Sent) -> None:
    assert machine.takes(sent.link, sent.frame()) is None


def test_to_where_smaller_packets_alone_get_none_is_sent_and_from_there_all_is_taken(machine: Machine) -> None:
    with _known(machine, _view(health=Health({"r1": 1400}))):
        assert machine.takes(LINKS[ANN], _leaves().frame()) is None
        assert machine.takes(LINKS[ANN], _leaves(target=FAR).frame())
        assert machine.takes(DEVICE, _arrives().frame())


ADDRESSES = st.builds("10.128.{}.{}".format, st.sampled_from((0, 4, 8)), st.integers(1, 4))
PORTS = {f"10.128.0.{number}": 9 + number for number in (2, 3)}
FRAMES = [
    (link, sender, receiver)
    for link in (DEVICE, *PORTS.values())
    for sender in [*map(session_mac, PORTS), *(peer.mac for peer in PEERS)]
    for receiver in (BRIDGE, PEERS[0].mac)
]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(ADDRESSES, st.sampled_from(("ann", "bob")), max_size=9),
    st.sets(st.sampled_from(PEERS[1:])),
    ADDRESSES,
    ADDRESSES,
)
def test_they_take_nothing_that_the_filter_would_not_let_through(
    machine: Machine, owners: dict[str, str], others: set[Peer], source: str, target: str
) -> None:
    view = _view(owners, (PEERS[0], *others))
    machine.be(view, PORTS)
    tables = Kernel()
    tables.feed(ruleset(view, {address: f"veth{link}" for address, link in PORTS.items()}).text)
    for link, sender, receiver in FRAMES:
        if machine.takes(link, Sent(link, source, target, sender, receiver).frame()):
            assert _lets(tables.tables, link, {"ether saddr": sender, "ip saddr": source, "ip daddr": target})


def _lets(tables: Mapping[str, Table], link: int, packet: Packet) -> bool:
    """Whether the filter lets a packet through, that came in by the link, to where it is for."""
    if link == DEVICE:
        routed = packet | {"iifname": "nv0", "oifname": "nvbr0"}
    elif passes(tables["bridge netvps"], "prerouting", packet | {"iifname": f"veth{link}", "ether type": "ip"}):
        routed = packet | {"iifname": "nvbr0", "oifname": "nv0"}
    else:
        return False
    known = routed | {"ct state": "new", "meta l4proto": "udp"}
    return all(passes(tables["inet netvps"], chain, known) for chain in ("prerouting", "forward"))
