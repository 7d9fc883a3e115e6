"""The overlay between three machines, with real sessions on real engines: see overlay_lab.

All hosts have FORWARD's policy DROP and rp_filter 1, as many a host has.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import pytest

from netvps.domain.overlay.kernel.diff import diff
from tests.e2e.overlay.overlay_lab import Host, Lab, Session, wait
from tests.support.images import BUSYBOX
from tests.support.namespaces import enter

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]
SOON = 10.0
"""Seconds in which something is repaired that takes well under one on a machine that is not as busy."""


@pytest.fixture(scope="module")
def lab(three: Lab) -> Lab:
    return three


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Session, Session]:
    """One session on the first host, one on the second."""
    return lab.create("one", lab.hosts[0]), lab.create("two", lab.hosts[1])


@pytest.fixture(scope="module")
def third(lab: Lab, pair: tuple[Session, Session]) -> Session:  # noqa: ARG001 — the two are there first
    """One on the third."""
    return lab.create("three", lab.hosts[2])


@pytest.fixture(autouse=True)
def _settled_before_and_after(lab: Lab) -> Iterator[None]:
    lab.settle()
    yield
    lab.settle()
    for host in lab.hosts:
        assert not [line for line in host.log.splitlines() if "exception" in line]


SERVED = "serving overlay names"
"""Said at the end of a runner's first round."""


@dataclass
class Pings:
    """A ping every millisecond, from `start` on."""

    process: subprocess.Popen[str]
    lost: int = -1
    sent: int = field(default=0)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=20)
        counts = next(line for line in said.splitlines() if "packets transmitted" in line).split()
        self.sent, received = int(counts[0]), int(counts[3])
        self.lost = self.sent - received


@contextmanager
def pinging(sender: Session, target: Session) -> Iterator[Pings]:
    """Not one of them may be lost within the block (the last may be on its way when it ends)."""
    command = ["nsenter", "-t", str(sender.pid), "-n", str(BUSYBOX), "ping", "-q", "-i", "0.001", target.address]
    pings = Pings(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    try:
        yield pings
    finally:
        pings.stop()
    assert pings.sent > 100
    assert pings.lost <= 1, f"{pings.lost} of {pings.sent} pings lost"


def test_sessions_reach_each_other_in_both_directions(pair: tuple[Session, Session], third: Session) -> None:
    one, two = pair
    assert one.reaches(two.address)
    assert two.reaches(one.address)
    assert one.reaches(two.address, size=1422)  # as large as a packet of the overlay may be
    assert one.reaches(two.address, size=8000)
    assert exchanged(one, two, socket.SOCK_STREAM, 1 << 20)
    assert exchanged(two, one, socket.SOCK_STREAM, 1 << 20)
    assert exchanged(one, two, socket.SOCK_DGRAM, 1000)
    assert third.reaches(one.address)
    assert two.reaches(third.address)


def test_a_sessions_port_is_known_as_soon_as_it_runs(lab: Lab, third: Session) -> None:
    """From then on it speaks for that session alone; the timer comes only after half a minute."""
    late = lab.create("late", third.host)
    bound = ("nft", "list", "set", "bridge", "netvps", "bound")
    wait(lambda: f". {late.address}" in late.host.namespace.run(*bound), "its port is bound", SOON)
    lab.netvps("rm", late.name, "--yes")


def test_an_unused_address_is_unreachable_at_once(lab: Lab) -> None:
    host = lab.hosts[0].namespace
    assert host.ip("route", "get", "10.190.0.1", check=False) == ""


def test_each_object_that_is_deleted_is_healed(pair: tuple[Session, Session], third: Session) -> None:
    """On one host after the other: where things are deleted all the time, a runner takes its time."""
    sessions = (*pair, third)
    for number in range(len(deletions(*pair))):
        one, two = sessions[number % 3], sessions[(number + 1) % 3]
        host, deletion = one.host, deletions(one, two)[number]
        host.namespace.run(*deletion)
        assert diff(*host.state()) != () or host.settled(), deletion
        wait(host.settled, f"healed after {' '.join(deletion)}: {host.log[-2000:]}", SOON)
        wait(lambda one=one, two=two: one.reaches(two.address), f"a way after {' '.join(deletion)}", SOON)  # type: ignore[misc]
        wait(lambda one=one, two=two: two.reaches(one.address), f"a way back after {' '.join(deletion)}", SOON)  # type: ignore[misc]


def deletions(one: Session, two: Session) -> list[tuple[str, ...]]:
    """Commands that take something of the way from one to the other, to be run on the first's host."""
    desired, _ = one.host.state()
    peer = two.host.state()[0].device
    assert peer is not None
    cidr = str(ip_network(f"{two.address}/22", strict=False))
    return [
        ("ip", "route", "delete", cidr),
        ("ip", "route", "delete", "unreachable", "10.128.0.0/10"),
        ("ip", "neighbour", "delete", desired.routes[cidr].gateway, "dev", "nv0"),
        ("bridge", "fdb", "delete", peer.mac, "dev", "nv0", "self"),
        ("ip", "address", "flush", "dev", "nv0"),
        ("ip", "address", "flush", "dev", "nvbr0"),
        ("ip", "link", "set", "nv0", "down"),
        ("ip", "link", "set", "nvbr0", "down"),
        ("ip", "link", "set", "nv0", "mtu", "1300"),
        ("ip", "link", "set", "nvbr0", "type", "bridge", "ageing_time", "30000"),
        ("ip", "link", "delete", "nv0"),
        ("ip", "link", "delete", "nvbr0"),
    ]


def test_a_runner_that_is_killed_loses_no_packet(pair: tuple[Session, Session]) -> None:
    one, two = pair
    with pinging(one, two):
        for host in (one.host, two.host):
            host.stop_runner(signal.SIGKILL)
            host.start_runner()
            wait(host.settled, "as planned again")


def test_a_runner_that_has_kept_only_an_old_netmap_loses_no_packet(lab: Lab, pair: tuple[Session, Session]) -> None:
    """It is kept now and then; what came since is in the kernel, and the control plane is away."""
    one, two = pair
    with pinging(one, two):
        lab.stop_server(signal.SIGKILL)
        two.host.stop_runner(signal.SIGKILL)
        two.host.forget_sessions()
        rounds = two.host.log.count(SERVED)
        two.host.start_process()
        wait(lambda: two.host.log.count(SERVED) > rounds, "a round of its overlay")
        lab.start_server()
        wait(two.host.settled, "as planned again")
        wait(lambda: lab.online() == 3, "all runners are back")


def test_without_the_control_plane_nothing_is_lost_and_what_breaks_is_healed(
    lab: Lab, pair: tuple[Session, Session]
) -> None:
    one, two = pair
    third = lab.hosts[2]
    with pinging(one, two):
        lab.stop_server(signal.SIGKILL)
        third.stop_runner(signal.SIGKILL)
        third.start_process()
        third.namespace.ip("link", "delete", "nv0")  # its runner knows what to make, though no server can send it
        wait(lambda: "nv0" in third.namespace.ip("-br", "link"), f"healed alone: {third.log[-2000:]}", 30)
        wait(lambda: diff(*third.state()) == (), "as planned, alone", 30)
        lab.start_server()
        wait(lambda: lab.online() == 3, "all runners are back")


def test_a_runner_that_leaves_and_joins(lab: Lab, pair: tuple[Session, Session]) -> None:
    one, two = pair
    with lab.another() as fourth, pinging(one, two):
        fourth.start_runner()
        lab.settle()
        assert len(one.host.state()[0].fdb) == 3
        fourth.stop_runner()
        lab.netvps("runner", "rm", f"box{fourth.number}", "--yes")
        wait(lambda: len(one.host.state()[1].fdb) == 2, "the peer that was removed is gone")


def test_an_address_that_changes_is_followed(lab: Lab, pair: tuple[Session, Session]) -> None:
    """Its own on one host, a peer's on all others."""
    one, two = pair
    third = lab.hosts[2].namespace
    before = two.host.underlay
    link = two.host.namespace.ip("link", "show", "nv0").split(":")[0]
    with moved(two.host, "192.0.2.102"):
        wait(lambda: "local 192.0.2.102" in two.host.namespace.ip("-d", "link", "show", "nv0"), "own address", SOON)
        wait(lambda: "192.0.2.102" in third.run("bridge", "fdb", "show", "dev", "nv0"), "peer's address", SOON)
        wait(lambda: one.reaches(two.address), "a way", SOON)
        assert two.host.namespace.ip("link", "show", "nv0").split(":")[0] == link
    wait(lambda: before in third.run("bridge", "fdb", "show", "dev", "nv0"), "the old address again", SOON)
    wait(lambda: one.reaches(two.address), "a way", SOON)


def test_purge_is_refused_while_it_is_used_and_leaves_nothing(third: Session) -> None:
    host, purge = third.host, ("network", "purge", "--docker-host", third.host.docker_host)
    with pytest.raises(AssertionError, match="a runner on this machine uses the overlay"):
        host.netvps(*purge)
    host.stop_runner()
    try:
        with pytest.raises(AssertionError, match=r"containers run on network netvps-overlay .*stop their"):
            host.netvps(*purge)
        host.netvps(*purge, "--force")
        shown = host.namespace.ip("-br", "link") + host.namespace.ip("route", "show", "table", "all")
        assert not {"nv0", "nvbr0", "201"} & set(shown.split())
        assert "netvps" not in host.namespace.run("nft", "list", "tables")
        assert "netvps-overlay" not in host.docker("network", "ls")
        assert "NETVPS" not in host.namespace.run("iptables", "-S")
        host.start_runner("--underlay", "eth7")
        wait(lambda: "this machine has no interface 'eth7'" in host.log, "what is wrong is said")
        assert "nv0" not in host.namespace.ip("-br", "link")
        host.stop_runner()
    finally:
        host.start_runner()


def exchanged(client: Session, server: Session, kind: socket.SocketKind, size: int) -> bool:
    """Whether so many bytes arrive, from one session's network in the other's."""

    def within(session: Session, work: Callable[[], None]) -> threading.Thread:
        """In a thread that is in its network, and in no other ever again."""

        def run() -> None:
            enter(Path(f"/proc/{session.pid}/ns/net"))
            work()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    got = bytearray()
    ready = threading.Event()
    data = bytes(range(256)) * (size // 256)

    def serve() -> None:
        with socket.socket(socket.AF_INET, kind) as listener:
            listener.settimeout(20)
            listener.bind((server.address, 7777))
            if kind == socket.SOCK_STREAM:
                listener.listen()
            ready.set()
            if kind == socket.SOCK_DGRAM:
                got.extend(listener.recv(65536))
                return
            connection, _ = listener.accept()
            with connection:
                while piece := connection.recv(65536):
                    got.extend(piece)

    def send() -> None:
        with socket.socket(socket.AF_INET, kind) as connection:
            connection.settimeout(20)
            connection.connect((server.address, 7777))
            connection.sendall(data)

    receiver = within(server, serve)
    assert ready.wait(20)
    sender = within(client, send)
    for thread in (sender, receiver):
        thread.join(30)
    return bytes(got) == data


@contextmanager
def moved(host: Host, address: str) -> Iterator[None]:
    """A host has another address on its underlay."""
    before = host.underlay
    host.namespace.run("sysctl", "-qw", "net.ipv4.conf.eth0.promote_secondaries=1")
    host.namespace.ip("address", "add", f"{address}/24", "dev", "eth0")
    host.namespace.ip("address", "delete", f"{before}/24", "dev", "eth0")
    try:
        yield
    finally:
        host.namespace.ip("address", "add", f"{before}/24", "dev", "eth0")
        host.namespace.ip("address", "delete", f"{address}/24", "dev", "eth0")
