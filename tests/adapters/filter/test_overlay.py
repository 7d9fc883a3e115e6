"""Real packets in namespaces (see lab.py): who hears whom, who cannot pretend to be whom."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.overlay import OverlayFilter
from netvps.domain.overlay.fabric import device_mac, endpoint_address
from tests.adapters.filter.conftest import overlay_filter
from tests.adapters.filter.frames import BROADCAST, arp, ether, ipv4, udp, vxlan
from tests.adapters.filter.lab import FABRIC, MTU, OUT, RUNNERS, SESSIONS, Lab, view
from tests.adapters.filter.traffic import ADDRESS, BRIDGE, END, HOME, MAC, UDP_PORT, UNDERLAY, connected, ears, say

pytestmark = pytest.mark.netns


def put(lab: Lab, name: str, frame: bytes, link: str = "eth0") -> None:
    with closing(lab.wire(name, link)) as wire:
        wire.send(frame)


def bridged(sender: str, receiver: str, text: bytes, *, mac: str = "", address: str = "") -> bytes:
    """A frame to a neighbour on the bridge; with somebody else's MAC or address."""
    packet = ipv4(address or ADDRESS[sender], ADDRESS[receiver], udp(UDP_PORT, text))
    return ether(mac or MAC[sender], MAC[receiver], packet)


def routed(lab: Lab, sender: str, target: str, text: bytes, *, mac: str = "", address: str = "") -> bytes:
    """A frame to the gateway, for whoever has the address `target`."""
    packet = ipv4(address or ADDRESS[sender], target, udp(UDP_PORT, text))
    return ether(mac or MAC[sender], bridge_mac(lab, HOME[sender]), packet)


def bridge_mac(lab: Lab, runner: str) -> str:
    return lab.run(runner, "ip", "-br", "link", "show", "nvbr0").split()[2]


@pytest.fixture(params=["0", "1"], ids=["bridged", "br_netfilter"])
def lab(filtered: Lab, request: pytest.FixtureRequest) -> Lab:
    """With and without bridged packets in the inet family."""
    for runner in RUNNERS:
        filtered.write(runner, "bridge/bridge-nf-call-iptables", request.param)
    return filtered


def test_sessions_hear_those_of_their_owner_and_nobody_else(lab: Lab) -> None:
    with ears(lab, *SESSIONS) as all_ears:
        for sender, address in itertools.product(SESSIONS, ADDRESS.values()):
            say(lab, sender, address, sender.encode())
        heard = {name: {text.decode() for text in ear.heard()} for name, ear in zip(SESSIONS, all_ears, strict=True)}
    anns, bobs = {"ann1", "ann2", "ann3"}, {"bob1", "bob2"}
    assert heard == dict.fromkeys(anns, anns) | dict.fromkeys(bobs, bobs) | {"cyd1": {"cyd1"}}


def test_knowing_a_neighbours_mac_or_going_by_the_gateway_does_not_help(lab: Lab) -> None:
    with ears(lab, "ann2", "bob1") as (friend, stranger):
        for receiver in ("ann2", "bob1"):
            put(lab, "ann1", bridged("ann1", receiver, b"bridged"))
            put(lab, "ann1", routed(lab, "ann1", ADDRESS[receiver], b"routed"))
        assert friend.heard() == [b"bridged", b"routed"]
        assert stranger.heard() == []


LIES = {
    "its address": {"address": ADDRESS["ann1"]},
    "its mac": {"mac": MAC["ann1"]},
    "its address and mac": {"address": ADDRESS["ann1"], "mac": MAC["ann1"]},
    "a remote session's address": {"address": ADDRESS["ann3"]},
    "a remote session's address and mac": {"address": ADDRESS["ann3"], "mac": MAC["ann3"]},
    "the gateway's address": {"address": BRIDGE["door"]},
    "the bridge's address": {"address": BRIDGE["one"]},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_session_cannot_pretend_to_be_another(lab: Lab, lie: dict[str, str]) -> None:
    with ears(lab, "ann2", "ann3", "out") as all_ears:
        put(lab, "bob1", bridged("bob1", "ann2", b"spoofed", **lie))
        for target in (ADDRESS["ann2"], ADDRESS["ann3"], OUT):
            put(lab, "bob1", routed(lab, "bob1", target, b"spoofed", **lie))
        assert [ear.heard() for ear in all_ears] == [[], [], []]


@pytest.mark.parametrize(
    "lie", [{"address": ADDRESS["ann3"]}, {"address": ADDRESS["ann1"]}, {"mac": MAC["ann3"]}], ids=str
)
def test_a_session_whose_port_is_not_known_cannot_pretend_either(lab: Lab, lie: dict[str, str]) -> None:
    with ears(lab, "ann1", "ann3", "bob1") as (ann1, ann3, bob1):
        put(lab, "bob2", bridged("bob2", "ann3", b"spoofed", **lie))
        put(lab, "bob2", routed(lab, "bob2", ADDRESS["ann1"], b"spoofed", **lie))
        put(lab, "bob2", routed(lab, "bob2", ADDRESS["bob1"], b"spoofed", **lie))
        put(lab, "bob2", routed(lab, "bob2", ADDRESS["bob1"], b"true"))
        assert [ann1.heard(), ann3.heard(), bob1.heard()] == [[], [], [b"true"]]


def test_an_address_that_a_session_gives_itself_is_of_no_use(lab: Lab) -> None:
    lab.run("bob1", "ip", "address", "add", "10.128.0.77/22", "dev", "eth0")
    try:
        with ears(lab, "bob2", "out") as all_ears, closing(lab.open("bob1")) as mouth:
            mouth.bind(("10.128.0.77", 0))
            for address in (ADDRESS["bob2"], OUT):
                mouth.sendto(b"spoofed", (address, UDP_PORT))
            assert [ear.heard() for ear in all_ears] == [[], []]
    finally:
        lab.run("bob1", "ip", "address", "delete", "10.128.0.77/22", "dev", "eth0")


@pytest.mark.parametrize("sender", ["bob1", "bob2"], ids=["known-port", "unknown-port"])
def test_the_bridge_learns_no_mac_that_is_not_the_senders(lab: Lab, sender: str) -> None:
    """Frames of link-local protocols (the last) go past all hooks."""
    runner, victim = HOME[sender], "ann1" if sender == "bob1" else "ann3"
    with ears(lab, victim) as (ear,):
        say(lab, victim, BRIDGE[runner], b"here I am")
        assert ear.heard() == []
        for target in (BROADCAST, bridge_mac(lab, runner), "01:80:c2:00:00:00", "01:80:c2:00:00:0e"):
            for kind in (0x0800, 0x0806, 0x86DD, 0x88CC):
                put(lab, sender, ether(MAC[victim], target, bytes(60), kind))
        table = lab.run(runner, "bridge", "fdb", "show", "br", "nvbr0").splitlines()
    learned = {words[2] for words in map(str.split, table) if words[0] == MAC[victim]}
    assert learned == {f"p-{victim}"}


def test_arp_is_answered_within_an_owner_and_by_the_gateway(lab: Lab) -> None:
    with closing(lab.wire("bob1")) as wire, closing(lab.wire("ann1")) as asker:
        for asked in ("ann2", "bob1"):
            asker.send(ether(MAC["ann1"], BROADCAST, arp(MAC["ann1"], ADDRESS["ann1"], ADDRESS[asked]), 0x0806))
        asker.send(ether(MAC["ann1"], BROADCAST, arp(MAC["ann1"], ADDRESS["ann1"], BRIDGE["one"]), 0x0806))
        assert set(_answers(asker, BRIDGE["one"])) == {ADDRESS["ann2"], BRIDGE["one"]}
        asks = bytes.fromhex(MAC["ann1"].replace(":", ""))
        wire.settimeout(0.1)  # what was to come has come: the gateway answered last
        assert not [
            frame
            for frame in _frames(wire)
            if frame.endswith(socket.inet_aton(ADDRESS["bob1"])) and frame[6:12] == asks
        ]


def _frames(wire: socket.socket) -> Iterator[bytes]:
    with suppress(TimeoutError):
        while True:
            yield wire.recv(2048)


def _answers(wire: socket.socket, last: str) -> Iterator[str]:
    """Addresses that ARP replies are of."""
    for frame in _frames(wire):
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\x00\x02":
            yield (address := socket.inet_ntoa(frame[28:32]))
            if address == last:
                return


@pytest.mark.parametrize("claimed", [ADDRESS["ann2"], BRIDGE["one"]], ids=["a neighbour", "the gateway"])
def test_nobody_believes_an_arp_reply_of_the_wrong_session(lab: Lab, claimed: str) -> None:
    with ears(lab, "ann1", "ann2") as all_ears:
        say(lab, "ann1", ADDRESS["ann2"], b"")
        assert [ear.heard() for ear in all_ears] == [[], [b""]]  # now they know each other
        for mac, target in itertools.product((MAC["bob1"], MAC["ann2"]), (MAC["ann1"], bridge_mac(lab, "one"))):
            for asked in (ADDRESS["ann1"], BRIDGE["one"]):
                put(lab, "bob1", ether(mac, target, arp(MAC["bob1"], claimed, asked, reply=True), 0x0806))
    for name in ("ann1", "one"):
        assert MAC["bob1"] not in lab.run(name, "ip", "neighbour", "show", claimed)


@pytest.mark.parametrize("kind", [0x86DD, 0x8100, 0x88A8, 0x0026], ids=["ipv6", "vlan", "qinq", "llc"])
def test_nothing_but_ipv4_and_arp_passes_the_bridge(lab: Lab, kind: int) -> None:
    tagged = struct.pack("!HH", 5, 0x0800) + bridged("ann1", "ann2", b"tagged")[14:]
    with closing(lab.wire("ann2")) as wire, ears(lab, "ann2") as (ear,):
        put(lab, "ann1", ether(MAC["ann1"], MAC["ann2"], tagged, kind))
        put(lab, "ann1", ether(MAC["ann1"], BROADCAST, tagged, kind))
        put(lab, "ann1", bridged("ann1", "ann2", b"plain"))
        assert ear.heard() == [b"plain"]
        frames = itertools.takewhile(lambda frame: END not in frame, _frames(wire))
        assert not [frame for frame in frames if b"tagged" in frame]


def encapsulated(carrier: str, address: str, receiver: str) -> bytes:
    """A VXLAN packet's payload, from the device of a runner, for a session on runner "one"."""
    packet = ipv4(address, ADDRESS[receiver], udp(UDP_PORT, b"forged"))
    return vxlan(FABRIC.vni, ether(device_mac(FABRIC, carrier), device_mac(FABRIC, "one"), packet))


FORGERIES = {
    "true": ("two", "two", "ann3", True),
    "from a machine that is no runner": ("out", "two", "ann3", False),
    "with another runner's mac and subnet": ("door", "two", "ann3", False),
    "with a source in another runner's subnet": ("door", "door", "ann3", False),
    "with a source in the receiver's own subnet": ("two", "two", "ann2", False),
    "as the gateway, by another runner": ("two", "door", "", False),
}


@pytest.mark.parametrize(("sender", "carrier", "source", "passes"), FORGERIES.values(), ids=FORGERIES)
def test_a_tunnel_carries_only_what_is_its_runners_own(
    lab: Lab, sender: str, carrier: str, source: str, *, passes: bool
) -> None:
    payload = encapsulated(carrier, ADDRESS.get(source, BRIDGE["door"]), "ann1")
    with ears(lab, "ann1") as (ear,):
        say(lab, sender, UNDERLAY["one"], payload, FABRIC.port)
        assert ear.heard() == ([b"forged"] if passes else [])


def test_a_session_cannot_send_into_a_tunnel_under_its_runners_address(lab: Lab) -> None:
    payload = encapsulated("two", ADDRESS["ann3"], "ann1")
    with ears(lab, "ann1", "one") as (session, runner):
        say(lab, "bob2", UNDERLAY["one"], payload, FABRIC.port)
        say(lab, "bob1", UNDERLAY["one"], payload, FABRIC.port)
        say(lab, "bob2", UNDERLAY["one"], b"to another port")
        assert (session.heard(), runner.heard()) == ([], [b"to another port"])


@pytest.mark.parametrize("sender", ["ann1", "ann3"])
def test_a_runners_ports_are_closed_to_sessions(lab: Lab, sender: str) -> None:
    own = HOME[sender]
    with ears(lab, "one", port=7444) as (ear,):
        for address in (UNDERLAY["one"], BRIDGE["one"], endpoint_address(RUNNERS["one"][1])):
            say(lab, sender, address, b"let me in", 7444)
        # What comes from another runner's session by the underlay comes from that machine, and the outside is open.
        assert ear.heard() == ([] if own == "one" else [b"let me in"])
    with ears(lab, own, port=53) as (dns,):
        say(lab, sender, BRIDGE[own], b"who is", 53)
        say(lab, sender, UNDERLAY[own], b"who is", 53)
        assert dns.heard() == [b"who is"]


def test_dns_is_open_on_tcp_and_echo_is_answered(lab: Lab) -> None:
    with (
        closing(lab.open("one", socket.SOCK_STREAM)) as server,
        closing(lab.open("ann1", socket.SOCK_STREAM)) as client,
    ):
        server.bind((BRIDGE["one"], 53))
        server.listen()
        client.connect((BRIDGE["one"], 53))
    assert "1 packets received" in lab.run("ann1", "busybox", "ping", "-c1", "-W9", BRIDGE["one"])


def test_a_port_published_on_the_runner_is_closed_to_sessions_too(lab: Lab) -> None:
    redirect = f"""table ip published {{ chain c {{ type nat hook prerouting priority -100;
        udp dport 8080 dnat to {ADDRESS["ann1"]}:{UDP_PORT}; }}; }}"""
    lab.run("one", "nft", "-f", "-", stdin=redirect)
    try:
        with ears(lab, "ann1") as (ear,):
            for address in (UNDERLAY["one"], BRIDGE["one"]):
                say(lab, "bob1", address, b"by the back door", 8080)
            say(lab, "out", UNDERLAY["one"], b"by the front door", 8080)
            assert ear.heard() == []
    finally:
        lab.run("one", "nft", "delete", "table", "ip", "published")


@pytest.mark.parametrize(("caller", "session"), [("door", "ann1"), ("door", "bob2"), ("door", "cyd1"), ("two", "bob2")])
def test_the_gateway_and_the_own_runner_reach_a_session_and_get_its_answer(lab: Lab, caller: str, session: str) -> None:
    with connected(lab, caller, session) as (client, accepted):
        accepted.sendall(b"welcome")
        assert client.recv(64) == b"welcome"


def test_other_runners_and_the_outside_do_not_reach_a_session(lab: Lab) -> None:
    with ears(lab, "ann1") as (ear,):
        for caller in ("two", "out", "door"):
            say(lab, caller, ADDRESS["ann1"], caller.encode())
        assert ear.heard() == [b"door"]


def test_a_session_cannot_call_the_gateways_machine(lab: Lab) -> None:
    with ears(lab, "door") as (ear,):
        for address in (BRIDGE["door"], endpoint_address(RUNNERS["door"][1])):
            say(lab, "ann1", address, b"hello")
        assert ear.heard() == []


def test_sessions_reach_the_outside_under_their_runners_address(lab: Lab) -> None:
    with ears(lab, "out") as (ear,):
        for session in ("ann1", "bob2"):
            say(lab, session, OUT, session.encode())
        assert ear.heard_from() == [(b"ann1", UNDERLAY["one"]), (b"bob2", UNDERLAY["two"])]


@pytest.mark.parametrize("unknown", ["10.128.200.2", "10.191.255.254", "172.30.0.2", "169.254.169.254"])
def test_what_is_nowhere_on_the_overlay_is_not_looked_for_outside(lab: Lab, unknown: str) -> None:
    """Even where no route says that it is unreachable: the lab's machines send everything else to "out"."""
    lab.run("out", "ip", "address", "add", f"{unknown}/32", "dev", "lo")
    try:
        with ears(lab, "out") as (ear,):
            say(lab, "ann1", unknown, b"leaked")
            say(lab, "ann1", OUT, b"meant for the outside")
            assert ear.heard() == [b"meant for the outside"]
    finally:
        lab.run("out", "ip", "address", "delete", f"{unknown}/32", "dev", "lo")


@pytest.mark.parametrize("route_mtu", [MTU, 1300])
def test_connections_over_the_tunnel_are_told_segments_that_fit(lab: Lab, route_mtu: int) -> None:
    via = ("via", endpoint_address(RUNNERS["two"][1]), "dev", "nv0", "onlink")
    lab.run("one", "ip", "route", "replace", RUNNERS["two"][1], *via, "mtu", str(route_mtu))
    try:
        with connected(lab, "ann1", "ann3") as (_, accepted):
            segment = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            assert segment == route_mtu - 40 - 12  # IP and TCP; timestamps
    finally:
        lab.run("one", "ip", "route", "replace", RUNNERS["two"][1], *via)


def _state(lab: Lab) -> str:
    return lab.run("two", "nft", "-s", "list", "ruleset")


async def test_nothing_is_left_of_it(hosts: Lab) -> None:
    before = _state(hosts)
    made = overlay_filter(hosts, "two")
    await made.remove()
    bare = _state(hosts)
    assert "netvps" not in bare.lower()
    await made.load(view("two"))
    assert await made.loaded()
    assert sorted(_state(hosts).split()) == sorted(before.split())
    await made.remove()
    assert _state(hosts) == bare
    await made.load(view("two"))


async def test_a_link_that_is_known_now_is_bound_with_the_next_load(hosts: Lab) -> None:
    known: dict[str, str] = {}

    async def ports() -> dict[str, str]:
        return dict(known)

    enter = hosts.enter("two")
    made = OverlayFilter(Nftables((*enter, "nft")), Iptables(prefix=enter), Firewalld(program="none"), ports)
    await made.load(view("two"))
    assert await made.loaded()
    known[ADDRESS["ann3"]] = "p-ann3"
    assert not await made.loaded()
    await made.load(view("two"))
    assert await made.loaded()
    assert '"p-ann3"' in _state(hosts)


async def test_accepts_that_others_removed_are_there_again(hosts: Lab) -> None:
    made = overlay_filter(hosts, "two")
    await made.load(view("two"))
    before = _state(hosts)
    hosts.run("two", "iptables", "-F")
    assert await made.loaded()
    assert sorted(_state(hosts).split()) == sorted(before.split())


async def test_a_machine_that_cannot_filter_says_what_it_lacks(hosts: Lab) -> None:
    assert await overlay_filter(hosts, "one").unable() == ""

    async def nothing() -> dict[str, str]:
        return {}

    broken = ("sh", "-c", "echo 'Error: Operation not supported' >&2; exit 1")
    for nft, why in ((("no-nft",), "cannot run no-nft"), (broken, "Operation not supported; see whether the kernel")):
        made = OverlayFilter(Nftables(nft), Iptables(program="none"), Firewalld(program="none"), nothing)
        assert why in await made.unable()
    await OverlayFilter(Nftables(("no-nft",)), Iptables(program="none"), Firewalld(program="none"), nothing).remove()
