"""What is in the overlay's way: said with its remedy, to a state that is known, and over by itself when it is gone.

Two hosts (see overlay_lab) and a pool that holds just two subnets. All have FORWARD's policy DROP and rp_filter 1.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from netvps.programs.wiring.identity import FOLDER
from netvps.programs.wiring.overlay import MEMORY
from tests.e2e.overlay.overlay_lab import API, IMAGE, Host, Lab, Session, wait
from tests.e2e.overlay.test_overlay import SOON, exchanged
from tests.e2e.system import NETVPS
from tests.support.namespaces import Namespace, enter, namespace
from tests.support.pings import pinging

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]
POOL = "10.150.0.0/23"
OVERLAPPING = "10.150.1.128/25"
PORT, VNI = 14789, 7
_MTU_DISCOVER, _NEVER_FRAGMENT = 10, 2
"""Of linux/in.h."""
_IP_AND_UDP = 28
FULL_IPV6 = 1430
"""Bytes of the largest packet over an IPv6 underlay of 1500."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(2, "--overlay-pool", POOL, "--overlay-prefix", "24") as made:
        made.hosts[0].start_runner()
        made.settle()
        yield made


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Session, Session]:
    """One session on the first host, one on the second."""
    return lab.create("one", lab.hosts[0]), lab.create("two", lab.hosts[1])


def ours(place: Namespace) -> set[str]:
    """What of the overlay is in the kernel there."""
    shown = place.ip("-br", "link") + place.ip("route", "show", "table", "all") + place.run("nft", "list", "tables")
    return {"nv0", "nvbr0", "201", "netvps"} & set(shown.split())


def said(host: Host, what: str) -> None:
    wait(lambda: what in host.log, f"{what}: {host.log[-3000:]}", 30)


def test_each_problem_of_a_start_is_reported_and_the_next_after_its_end(lab: Lab, tmp_path: Path) -> None:
    """All of them at once, and taken away one after the other: its runner is never restarted."""
    host = lab.hosts[1]
    place = host.namespace
    for program in ("nsenter", "iptables", "iptables-restore"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    host.environment = {"PATH": str(tmp_path)}
    host.choice = "eth7"
    place.ip("route", "add", OVERLAPPING, "dev", "eth0")
    place.ip("link", "add", "other", "type", "vxlan", "id", str(VNI), "dstport", str(PORT))
    host.docker("network", "create", "--subnet", "10.99.0.0/24", "netvps-overlay")
    with ExitStack() as stack:
        with place.inside():
            taken = stack.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
        taken.bind(("0.0.0.0", PORT))
        host.start_runner()
        said(host, "cannot run nft: No such file or directory; is it installed? The overlay needs nftables to isolate")
        assert ours(place) == set()

        (tmp_path / "nft").symlink_to(str(shutil.which("nft")))
        said(host, "underlay: this machine has no interface 'eth7'; choose one of: ")
        assert ours(place) == set()

        join_switch(lab, place, "eth7", "192.0.2.72/24")
        said(host, f"the overlay's pool {POOL} overlaps a route of this machine ({OVERLAPPING} dev eth0): remove that")
        assert ours(place) == set()

        place.ip("route", "delete", OVERLAPPING)
        said(host, f"another VXLAN device has VNI {VNI} on UDP port {PORT}: delete it (ip -d link show type vxlan)")
        said(host, "network netvps-overlay exists and is not managed by netvps: remove it (docker network rm")
        assert "nv0" not in ours(place)
        assert place.ip("route", "get", "10.150.0.9", check=False) == ""  # nothing of the overlay leaves elsewhere

        place.ip("link", "delete", "other")
        said(host, f"UDP port {PORT} is in use: stop what uses it (ss -lunp; ip -d link show type vxlan)")
        assert "nv0" not in ours(place)
        assert "put fdb" not in host.log  # what cannot be for that is not said, too

    with host.paused():
        host.docker("network", "rm", "netvps-overlay")
        host.docker("network", "create", "--subnet", "10.99.0.0/24", "--label", "netvps.managed=true", "netvps-overlay")
        host.docker("run", "-d", "--name", "old", "--network", "netvps-overlay", IMAGE, "busybox", "sleep", "1000")
    said(host, "network netvps-overlay has the subnet 10.99.0.0/24 instead of 10.150.1.0/24, and containers run on it")
    assert "nv0" in ours(place)

    host.docker("rm", "-f", "old")
    said(host, "the overlay works again")
    lab.settle()
    assert "10.150.1.0/24" in host.docker("network", "inspect", "netvps-overlay")
    assert "local 192.0.2.72" in place.ip("-d", "link", "show", "nv0")


def test_policies_that_drop_and_checked_reverse_paths_are_no_problem(pair: tuple[Session, Session]) -> None:
    one, two = pair
    for session in pair:
        assert "-P FORWARD DROP" in session.host.namespace.run("iptables", "-S", "FORWARD")
        assert session.host.namespace.run("sysctl", "-n", "net.ipv4.conf.all.rp_filter") == "1\n"
    assert one.reaches(two.address)
    assert two.reaches(one.address)


def test_an_exhausted_pool_refuses_only_the_next_machine(
    lab: Lab, pair: tuple[Session, Session], tmp_path: Path
) -> None:
    joining = ("--join-token-file", token(lab, tmp_path))
    with (
        machine(lab, "192.0.2.9/24") as third,
        pinging(pair[0].inside, pair[1].address),
        runner(lab, third, tmp_path, *joining) as process,
    ):
        _, answered = process.communicate(timeout=60)
        assert process.returncode != 0
        assert (
            f"no /24 is left in the overlay's pool {POOL}: remove runners that are gone, or set a larger" in answered
        ), answered
        assert ours(third) == set()
        assert lab.netvps("runner", "ls").count("ONLINE") == 2


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        (("--overlay-prefix", "30"), "--overlay-prefix: '30' is wrong: give a value less than or equal to 29"),
        (("--overlay-pool", "10.150.0.0/24", "--overlay-prefix", "22"), "10.150.0.0/24 is smaller than one /22"),
    ],
)
def test_a_pool_or_prefix_that_cannot_be_is_refused_at_the_start(
    lab: Lab, tmp_path: Path, flags: tuple[str, ...], remedy: str
) -> None:
    answer = subprocess.run(
        [*NETVPS, "server", *flags, "--listen", "127.0.0.1", "--api-port", "1", "--link-port", "2"],
        env=lab.environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode != 0
    assert remedy in answer.stderr


def test_a_clone_of_a_machine_is_refused_and_takes_nothing_from_it(
    lab: Lab, pair: tuple[Session, Session], tmp_path: Path
) -> None:
    """Two machines with one identity: the second knows the first's subnet, too, and makes itself an end of it."""
    original = lab.hosts[1]
    shutil.copytree(original.folder / "s" / FOLDER, tmp_path / "s" / FOLDER, ignore=shutil.ignore_patterns("lock"))
    (tmp_path / "s" / FOLDER / "assignments.json").unlink()  # the same engine stands behind both here
    assert (tmp_path / "s" / FOLDER / MEMORY).exists()
    with (
        machine(lab, "192.0.2.9/24") as clone,
        pinging(pair[0].inside, pair[1].address),
        runner(lab, clone, tmp_path) as process,
    ):
        try:
            assert process.stderr
            wait_for_line(
                process.stderr, "is connected from another process", "stop one of the two; if its machine was"
            )
            assert pair[1].reaches(pair[0].address)
        finally:
            process.kill()
        assert lab.netvps("runner", "ls").count("ONLINE") == 2
    lab.settle()


def test_a_lost_underlay_leaves_everything_unchanged(lab: Lab, pair: tuple[Session, Session]) -> None:
    one, two = pair
    host = two.host
    _, before = host.view_and_kernel()
    host.namespace.ip("address", "delete", "192.0.2.72/24", "dev", "eth7")
    said(host, "underlay: interface eth7 has no address; give it one, or choose another interface")
    said(host, "the underlay is lost; keeping the last one")
    assert "local 192.0.2.72" in host.namespace.ip("-d", "link", "show", "nv0")
    host.namespace.ip("address", "add", "192.0.2.72/24", "dev", "eth7")
    wait(lambda: one.reaches(two.address), "a way again", SOON)
    lab.settle()
    assert host.view_and_kernel()[1] == before


def test_a_link_of_the_underlay_goes_down_and_up(lab: Lab, pair: tuple[Session, Session]) -> None:
    """The kernel drops the routes of the link; what the overlay has is on a link of its own."""
    one, two = pair
    place = two.host.namespace
    for link in ("eth0", "eth7"):
        place.ip("link", "set", link, "down")
    assert not one.reaches(two.address)
    assert "192.0.2.0/24" not in place.ip("route")
    for link in ("eth0", "eth7"):
        place.ip("link", "set", link, "up")
    wait(lambda: one.reaches(two.address), "a way again", SOON)
    wait(lambda: two.reaches(one.address), "a way back", SOON)
    lab.settle()
    with pinging(one.inside, two.address):
        lab.settle()


def test_a_route_that_overlaps_the_pool_later_stops_nothing(pair: tuple[Session, Session]) -> None:
    host = pair[1].host
    with pinging(pair[0].inside, pair[1].address):
        host.namespace.ip("route", "add", OVERLAPPING, "dev", "eth0")
        look_again(host)
        said(host, "other routes overlap with the overlay's pool; packets may take the wrong one")
        host.namespace.ip("route", "delete", OVERLAPPING)


def test_over_ipv6_sessions_reach_each_other_with_packets_of_full_size(lab: Lab, pair: tuple[Session, Session]) -> None:
    one, two = pair
    for host in lab.hosts:
        host.choice = f"2001:db8::{host.number}"
        host.namespace.ip("address", "add", f"{host.choice}/64", "dev", "eth0", "nodad")
        host.stop_runner(signal.SIGKILL)
        host.start_process()
    lab.settle()
    for host in lab.hosts:
        shown = host.namespace.ip("-d", "link", "show", "nv0")
        assert f"local {host.choice}" in shown
        assert f"mtu {FULL_IPV6}" in shown
    for sender, receiver in ((one, two), (two, one)):
        assert exchanged(sender, receiver, socket.SOCK_STREAM, 1 << 20)
        assert arrives(sender, receiver, FULL_IPV6)
        assert not arrives(sender, receiver, FULL_IPV6 + 1)
    with pinging(one.inside, two.address):
        for host in lab.hosts:
            host.stop_runner(signal.SIGKILL)
            host.start_process()
        lab.settle()


def look_again(host: Host) -> None:
    """An address that comes and goes has the runner look at all there is, without waiting for its timer."""
    host.namespace.ip("address", "add", "198.51.100.99/32", "dev", "lo")
    host.namespace.ip("address", "delete", "198.51.100.99/32", "dev", "lo")


def join_switch(lab: Lab, place: Namespace, link: str, address: str) -> None:
    """Gives a machine a further link on the underlay."""
    switch = Namespace(f"{lab.prefix}-switch")
    port = f"p{address.split('.')[3].partition('/')[0]}"
    switch.ip("link", "add", port, "type", "veth", "peer", "name", link, "netns", place.name)
    switch.ip("link", "set", port, "master", "br0", "up")
    place.ip("address", "add", address, "dev", link)
    place.ip("link", "set", link, "up")


@contextmanager
def machine(lab: Lab, address: str) -> Iterator[Namespace]:
    """One more on the underlay, without an engine."""
    with namespace() as made:
        join_switch(lab, made, "eth0", address)
        yield made


def token(lab: Lab, folder: Path) -> str:
    file = folder / "token"
    file.write_text(lab.netvps("runner", "join-token"))
    return str(file)


def runner(lab: Lab, place: Namespace, folder: Path, *flags: str) -> subprocess.Popen[str]:
    """A runner in a place without an engine; it has that of the second host."""
    engine = ("--docker-host", lab.hosts[1].docker_host)
    return subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{place.name}", *NETVPS, "runner", "--server", API, *engine, *flags],
        env=lab.environment(folder),
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_line(lines: Iterable[str], *parts: str) -> None:
    """Reads until a line has all of these."""
    seen: list[str] = []
    for line in lines:
        seen.append(line)
        if all(part in line for part in parts):
            return
    raise AssertionError("".join(seen))


def arrives(sender: Session, receiver: Session, size: int) -> bool:
    """Whether one packet of UDP of so many bytes, IP header and all, does that may not be fragmented."""
    with closing(udp_socket(sender)) as source, closing(udp_socket(receiver)) as target:
        target.bind((receiver.address, 7778))
        target.settimeout(2)
        source.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _NEVER_FRAGMENT)
        payload = bytes(size - _IP_AND_UDP)
        try:
            source.sendto(payload, (receiver.address, 7778))
            return target.recv(2 * size) == payload
        except (TimeoutError, OSError):
            return False


def udp_socket(session: Session) -> socket.socket:
    """One in its network."""

    def make() -> socket.socket:
        enter(Path(f"/proc/{session.pid}/ns/net"))
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(make).result()
