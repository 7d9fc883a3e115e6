"""Real packets over the borders of the overlay (see lab.py): tunnels, runners, gateways, the outside."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate
from netvps.domain.overlay.settings import device_mac, endpoint_address
from netvps.domain.runner.runner import Lease
from tests.adapters.filter.conftest import overlay_filter
from tests.adapters.filter.site.lab import MTU, OUT, RUNNERS, SECONDS, SETTINGS, Lab, ipv6, netmap, peer, view
from tests.adapters.filter.site.traffic import (
    ADDRESS,
    BRIDGE,
    HOME,
    UDP_PORT,
    UNDERLAY,
    connected,
    ears,
    encapsulated,
    say,
)

pytestmark = pytest.mark.netns
_IP_RECVERR = 11


FORGERIES = {
    "true": ("two", "two", "ann3", True),
    "from a machine that is no runner": ("out", "two", "ann3", False),
    "with another runner's mac": ("door", "two", "cyd1", False),
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
        say(lab, sender, UNDERLAY["one"], payload, SETTINGS.port)
        assert ear.heard() == ([b"forged"] if passes else [])


async def test_two_runners_on_one_address_are_both_heard_there_and_each_for_itself(lab: Lab) -> None:
    """As after a machine joined again, until its former runner is removed."""
    rejoined = replace(
        peer("two"),
        runner="rejoined",
        lease=Lease("10.128.12.0/22", "rejoined", 1),
        mac=device_mac(SETTINGS, "rejoined"),
    )
    theirs = Endpoint("uid-ann9", "ann9", "ann", "10.128.12.2")
    one = overlay_filter(lab, "one")
    await one.load(view("one", netmap().updated(NetmapUpdate(2, (rejoined,), (theirs,)))))
    try:
        with ears(lab, "ann1") as (ear,):
            for sender, carrier, source, passes in (
                ("two", "two", ADDRESS["ann3"], True),
                ("two", "rejoined", theirs.address, True),
                ("two", "two", theirs.address, False),
                ("two", "rejoined", ADDRESS["ann3"], False),
                ("door", "rejoined", theirs.address, False),
            ):
                say(lab, sender, UNDERLAY["one"], encapsulated(carrier, source, "ann1"), SETTINGS.port)
                assert ear.heard() == ([b"forged"] if passes else []), (sender, carrier, source)
    finally:
        await one.load(view("one"))


async def test_a_runner_whose_subnet_is_of_another_size_is_heard_and_for_itself_alone(lab: Lab) -> None:
    """As others' are, from before the pool's settings were changed; those here are of 1,024 addresses."""
    here = {"wide": "10.144.0.0/16", "narrow": "10.128.12.0/23"}
    odd = [
        replace(peer("two"), runner=name, lease=Lease(cidr, name, 1), mac=device_mac(SETTINGS, name))
        for name, cidr in here.items()
    ]
    ends = [Endpoint(f"uid-{at}", "ann9", "ann", at) for at in ("10.144.200.2", "10.128.13.2", "10.128.14.2")]
    one = overlay_filter(lab, "one")
    await one.load(view("one", netmap().updated(NetmapUpdate(2, tuple(odd), tuple(ends)))))
    try:
        with ears(lab, "ann1") as (ear,):
            for carrier, source, passes in (
                ("wide", "10.144.200.2", True),
                ("narrow", "10.128.13.2", True),
                ("two", ADDRESS["ann3"], True),
                ("narrow", "10.128.14.2", False),
                ("wide", "10.128.13.2", False),
                ("wide", ADDRESS["ann3"], False),
                ("two", "10.144.200.2", False),
            ):
                say(lab, "two", UNDERLAY["one"], encapsulated(carrier, source, "ann1"), SETTINGS.port)
                assert ear.heard() == ([b"forged"] if passes else []), (carrier, source)
    finally:
        await one.load(view("one"))


def test_nothing_goes_from_a_tunnel_to_the_outside(lab: Lab) -> None:
    with ears(lab, "ann1", "out") as (session, outside):
        for receiver in ("out", "ann1"):
            say(lab, "two", UNDERLAY["one"], encapsulated("two", ADDRESS["ann3"], receiver), SETTINGS.port)
        assert (session.heard(), outside.heard()) == ([b"forged"], [])


def test_over_ipv6_too_a_tunnel_is_heard_only_from_runners(lab: Lab) -> None:
    """The device of the lab is for IPv4; what gets past the filter is heard in its place."""
    with lab.inside("one"):
        ear = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    with closing(ear):
        ear.settimeout(SECONDS)
        ear.bind(("::", SETTINGS.port))
        for name, carrier in (("out", "two"), ("two", "door"), ("two", "two")):
            with lab.inside(name), closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as mouth:
                mouth.sendto(encapsulated(carrier, ADDRESS["ann3"], "ann1"), (ipv6(UNDERLAY["one"]), SETTINGS.port))
        assert ear.recvfrom(2048)[1][0] == ipv6(UNDERLAY["two"])
        ear.setblocking(False)
        with pytest.raises(BlockingIOError):
            ear.recv(2048)


def test_what_comes_out_of_a_tunnel_has_no_mark(lab: Lab) -> None:
    """Nor has the packet around it, for rules of others; also where the kernel joins many to one (GRO)."""
    chains = {"prerouting": -290, "input": 10, "forward": 10}
    lines = (f"chain {c} {{ type filter hook {c} priority {p}; meta mark != 0 drop; }}" for c, p in chains.items())
    lab.run("one", "nft", "-f", "-", stdin=f"table inet others {{ {'; '.join(lines)}; }}")
    sent = bytes(4 << 20)
    try:
        with connected(lab, "ann3", "ann1") as (client, accepted), ThreadPoolExecutor(1) as pool:
            sending = pool.submit(client.sendall, sent)
            left = len(sent)
            while left:
                left -= len(accepted.recv(1 << 20))
            sending.result()
        with ears(lab, "one") as (ear,):
            say(lab, "two", UNDERLAY["one"], b"beside the tunnel")
            assert ear.heard() == [b"beside the tunnel"]
    finally:
        lab.run("one", "nft", "delete", "table", "inet", "others")


def test_a_session_cannot_send_into_a_tunnel_under_its_runners_address(lab: Lab) -> None:
    payload = encapsulated("two", ADDRESS["ann3"], "ann1")
    with ears(lab, "ann1", "one") as (session, runner):
        say(lab, "bob2", UNDERLAY["one"], payload, SETTINGS.port)
        say(lab, "bob1", UNDERLAY["one"], payload, SETTINGS.port)
        say(lab, "bob2", UNDERLAY["one"], b"to another port")
        assert (session.heard(), runner.heard()) == ([], [b"to another port"])


def test_nor_can_what_a_runner_masquerades_for_others(lab: Lab) -> None:
    """Containers on networks of their own, for whom "out" stands here."""
    masquerade = f"type nat hook postrouting priority 100; ip saddr {OUT} masquerade"
    lab.run("one", "nft", "-f", "-", stdin=f"table ip others {{ chain c {{ {masquerade}; }}; }}")
    lab.run("out", "ip", "route", "add", UNDERLAY["two"], "via", UNDERLAY["one"])
    try:
        with ears(lab, "ann3", "two") as (session, runner):
            forged = encapsulated("one", ADDRESS["ann1"], "ann3")
            say(lab, "out", UNDERLAY["two"], forged, SETTINGS.port)
            say(lab, "out", UNDERLAY["two"], b"to another port")
            assert session.heard() == []
            assert runner.heard_from() == [(b"to another port", UNDERLAY["one"])]
            say(lab, "one", UNDERLAY["two"], forged, SETTINGS.port)
            assert session.heard() == [b"forged"]
    finally:
        lab.run("out", "ip", "route", "delete", UNDERLAY["two"])
        lab.run("one", "nft", "delete", "table", "ip", "others")


def test_what_is_between_sessions_is_not_tracked(lab: Lab) -> None:
    with ears(lab, "ann1", "ann3") as all_ears:
        for session, address in (("ann1", ADDRESS["ann3"]), ("ann3", ADDRESS["ann1"])):
            say(lab, session, address, b"hello")
        assert [ear.heard() for ear in all_ears] == [[b"hello"], [b"hello"]]
    for session, runner in (("ann1", "one"), ("ann3", "two")):
        say(lab, session, OUT, b"this is")
        with lab.inside(runner):
            tracked = Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines()
        assert [line for line in tracked if OUT in line]
        assert not [line for line in tracked if " udp " in line and f"dport={SETTINGS.port}" in line]
        assert not [line for line in tracked if ADDRESS["ann1"] in line and ADDRESS["ann3"] in line]


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


def test_runners_reach_each_others_self_test_and_sessions_do_not(lab: Lab) -> None:
    here = endpoint_address(RUNNERS["one"][1])
    with closing(lab.open("one", socket.SOCK_STREAM)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((here, SETTINGS.port))
        server.listen()
        with closing(lab.open("two", socket.SOCK_STREAM)) as client:
            client.connect((here, SETTINGS.port))
            accepted, _ = server.accept()
            with closing(accepted):
                accepted.sendall(b"welcome")
                assert client.recv(64) == b"welcome"
        for stranger in ("ann1", "ann3"):
            with closing(lab.open(stranger, socket.SOCK_STREAM)) as client:
                client.settimeout(0.3)
                with pytest.raises(OSError, match=r"timed out|unreachable"):
                    client.connect((here, SETTINGS.port))


def test_a_port_published_on_the_runner_is_closed_to_sessions_too(lab: Lab) -> None:
    """What is behind it ("out", as Docker does it) they may reach by its own address, or not; not as the runner."""
    redirect = f"""table ip published {{ chain c {{ type nat hook prerouting priority -100;
        udp dport 8080 dnat to {OUT}:{UDP_PORT}; }}; }}"""
    lab.run("one", "nft", "-f", "-", stdin=redirect)
    try:
        with ears(lab, "out") as (ear,):
            for address in (UNDERLAY["one"], BRIDGE["one"]):
                say(lab, "bob1", address, b"by the back door", 8080)
            say(lab, "two", UNDERLAY["one"], b"by the front door", 8080)
            assert ear.heard() == [b"by the front door"]
    finally:
        lab.run("one", "nft", "delete", "table", "ip", "published")


@pytest.mark.parametrize(("caller", "session"), [("door", "ann1"), ("door", "bob2"), ("door", "cyd1"), ("two", "bob2")])
def test_the_gateway_and_the_own_runner_reach_a_session_and_get_its_answer(lab: Lab, caller: str, session: str) -> None:
    with connected(lab, caller, session) as (client, accepted):
        accepted.sendall(b"welcome")
        assert client.recv(64) == b"welcome"


@pytest.mark.parametrize("port", [UDP_PORT, 22])
def test_other_runners_the_outside_and_whoever_else_is_on_the_gateways_machine_do_not_reach_a_session(
    lab: Lab, port: int
) -> None:
    with ears(lab, "ann1", port=port) as (ear,):
        for caller in ("two", "out", "door", "one"):
            say(lab, caller, ADDRESS["ann1"], caller.encode(), port)
        assert ear.heard() == [b"one"]


@pytest.mark.parametrize(("port", "passes"), [(22, True), (80, False)])
def test_of_a_sessions_tcp_ports_the_gateways_machine_reaches_that_of_ssh_alone(
    lab: Lab, port: int, *, passes: bool
) -> None:
    """Nothing listens: what arrives is refused at once, and of the rest nothing is heard."""
    with closing(lab.open("door", socket.SOCK_STREAM)) as caller:
        caller.settimeout(SECONDS if passes else 0.5)
        with pytest.raises(ConnectionRefusedError if passes else TimeoutError):
            caller.connect((ADDRESS["ann1"], port))


def test_the_gateways_machine_may_ping_a_session_and_other_runners_may_not(lab: Lab) -> None:
    for caller, answers in (("door", 1), ("two", 0)):
        said = lab.run(caller, "busybox", "ping", "-c1", f"-W{9 if answers else 1}", ADDRESS["ann1"], check=False)
        assert f"{answers} packets received" in said


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


def test_the_outside_answers(lab: Lab) -> None:
    with connected(lab, "ann1", "out") as (client, accepted):
        accepted.sendall(b"answer")
        assert client.recv(64) == b"answer"


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
def test_connections_over_the_tunnel_get_segments_that_fit(lab: Lab, route_mtu: int) -> None:
    via = ("via", endpoint_address(RUNNERS["two"][1]), "dev", "nv0", "onlink")
    lab.run("one", "ip", "route", "replace", RUNNERS["two"][1], *via, "mtu", str(route_mtu))
    try:
        with connected(lab, "ann1", "ann3") as (_, accepted):
            segment = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            assert segment == route_mtu - 40 - 12  # IP and TCP; timestamps
    finally:
        lab.run("one", "ip", "route", "replace", RUNNERS["two"][1], *via)


def test_a_runner_on_the_way_may_tell_a_session_that_a_packet_was_lost(lab: Lab) -> None:
    """Here that it was forwarded too often; that it was too long goes the same way."""
    with closing(lab.open("ann1")) as mouth:
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
        mouth.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        mouth.connect((ADDRESS["ann3"], UDP_PORT))
        mouth.send(b"too far")
        with pytest.raises(OSError, match="No route to host"):
            mouth.recv(64)


async def test_an_address_that_changed_hands_takes_no_connection_along(lab: Lab) -> None:
    bobs = NetmapUpdate(2, endpoints=(Endpoint("uid-ann1", "ann1", "bob", ADDRESS["ann1"]),))
    one = overlay_filter(lab, "one")
    with ears(lab, "ann1", "ann3") as (here, there), closing(lab.open("ann3")) as mouth:
        mouth.bind(("", UDP_PORT + 1))
        mouth.sendto(b"ask", (ADDRESS["ann1"], UDP_PORT))
        assert here.heard() == [b"ask"]
        here.answer(b"answer", (ADDRESS["ann3"], UDP_PORT + 1))
        assert mouth.recv(64) == b"answer"
        await one.load(view("one", netmap().updated(bobs)))
        try:
            mouth.sendto(b"ask again", (ADDRESS["ann1"], UDP_PORT))
            here.answer(b"answer again", (ADDRESS["ann3"], UDP_PORT + 1))
            say(lab, "ann1", ADDRESS["ann3"], b"hello")
            assert (here.heard(), there.heard()) == ([], [])
            mouth.setblocking(False)
            with pytest.raises(BlockingIOError):
                mouth.recv(64)
        finally:
            await one.load(view("one"))
