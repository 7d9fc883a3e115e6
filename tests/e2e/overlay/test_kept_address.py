"""A session keeps its address wherever it moves: three machines with real engines; see overlay_lab."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from netvps.domain.overlay.settings import bridge_address
from netvps.domain.session.spec import Network, SessionSpec
from tests.e2e.overlay.overlay_lab import IMAGE, Host, Lab, Session, wait
from tests.e2e.overlay.test_check import check
from tests.e2e.overlay.test_overlay import exchanged
from tests.support.namespaces import enter

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]
_TRANSPARENT = 19
_PORT = 7779


@pytest.fixture(scope="module")
def lab(three: Lab) -> Lab:
    return three


@dataclass
class Site:
    """Sessions of one owner, one on each host, and one that moves; and a session of another owner."""

    lab: Lab
    mover: Session
    others: list[Session]
    stranger: Session

    def move(self, to: Host) -> None:
        """It goes to that host; what it left there before has to be erased first."""
        command = ("move", self.mover.name, "--to", f"box{to.number}")
        wait(lambda: self.lab.netvps(*command, check=False) != "", f"{self.mover.name} goes to host {to.number}")
        before = self.mover
        self.mover = self.lab.session(before.name)
        assert (self.mover.host, self.mover.address) == (to, before.address)
        self.lab.settle()

    def is_reached(self) -> None:
        """From all machines, by ping, TCP and name; and it reaches all, and the outside."""
        mover = self.mover
        assert addresses(mover) == [mover.address]
        for other in self.others:
            wait(lambda: other.reaches(mover.address), f"{other.name} reaches it", 5)  # noqa: B023
            assert mover.reaches(other.address)
            for client, server in ((other, mover), (mover, other)):
                assert exchanged(client, server, socket.SOCK_STREAM, 1 << 18)
            gateway = bridge_address(other.host.view_and_kernel()[0].lease.cidr)
            assert mover.address in other.run("nslookup", f"{mover.name}.root.nv.internal", gateway)
        gateway = bridge_address(mover.host.view_and_kernel()[0].lease.cidr)
        assert self.others[0].address in mover.run("nslookup", f"{self.others[0].name}.root.nv.internal", gateway)
        elsewhere = next(host for host in self.lab.hosts if host is not mover.host)
        wait(lambda: mover.reaches(elsewhere.underlay), "it reaches the outside", 5)
        assert not self.stranger.reaches(mover.address)
        assert not mover.reaches(self.stranger.address)

    def host_routes(self) -> dict[int, str]:
        """The route to its address of each machine that has one of its own."""
        shown = {host.number: host.namespace.ip("route", "show", f"{self.mover.address}/32") for host in self.lab.hosts}
        return {number: route for number, route in shown.items() if route}


def addresses(session: Session) -> list[str]:
    """All that its interface on the overlay has."""
    shown = session.run("ip", "-o", "-4", "address", "show", "dev", "eth0")
    return [line.split()[3].partition("/")[0] for line in shown.splitlines()]


def udp(network: Path) -> socket.socket:
    """One in this network namespace, which may send from any address."""

    def make() -> socket.socket:
        enter(network)
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.IPPROTO_IP, _TRANSPARENT, 1)
        return made

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(make).result()


def of(session: Session) -> Path:
    return Path(f"/proc/{session.pid}/ns/net")


def heard(receiver: Session, network: Path, source: str) -> bool:
    """Whether a session gets a datagram that is sent in a network namespace with this source."""
    with closing(udp(network)) as sender, closing(udp(of(receiver))) as target:
        target.bind((receiver.address, _PORT))
        target.settimeout(1)
        sender.bind((source, 0))
        sender.sendto(b"hello", (receiver.address, _PORT))
        try:
            return target.recv(16) == b"hello"
        except TimeoutError:
            return False


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    first = lab.hosts[0]
    mover = lab.create("mover", first)
    others = [lab.create(f"on{host.number}", host) for host in lab.hosts]
    lab.netvps("user", "add", "bob")
    with lab.client() as client:
        client.create_session("stranger", SessionSpec(image=IMAGE, network=Network.OVERLAY), owner="bob")
        wait(lambda: client.get_session("stranger.bob").state == "RUNNING", "the stranger runs")
    return Site(lab, mover, others, lab.session("stranger.bob"))


def test_a_session_is_reached_at_its_address_wherever_it_moves(lab: Lab, site: Site) -> None:
    _, second, third = lab.hosts
    site.is_reached()
    assert site.host_routes() == {}
    for to in (second, third):
        site.move(to)
        site.is_reached()
        routes = site.host_routes()
        assert routes.keys() == {host.number for host in lab.hosts}
        assert "dev nvbr0" in routes[to.number]
        assert all("via " in route and "dev nv0" in route for number, route in routes.items() if number != to.number)
        assert check(lab) == []
        assert check(lab, site.mover.name, site.others[0].name) == []


def test_its_address_is_believed_from_its_runner_alone(lab: Lab, site: Site) -> None:
    first = lab.hosts[0]
    assert site.mover.host is lab.hosts[2]
    on1, on2, on3 = site.others
    assert heard(site.mover, of(on1), on1.address)
    assert heard(on2, of(site.mover), site.mover.address)
    for sender in (on1, on3, site.stranger):
        assert not heard(on2, of(sender), site.mover.address), sender.name
    for sender in (on2, on3, site.stranger):
        assert not heard(site.mover, of(sender), on1.address), sender.name
    assert not heard(on2, of(site.mover), on1.address)
    # The machine that it left may not speak for it any more, as it may for the rest of its subnet.
    at_first = Path("/run/netns") / first.namespace.name
    assert heard(on2, at_first, on1.address)
    assert not heard(on2, at_first, site.mover.address)


def test_it_has_its_address_after_a_restart_and_its_runner_may_die(lab: Lab, site: Site) -> None:
    third, mover = site.mover.host, site.mover
    third.stop_runner(signal.SIGKILL)
    site.others[0].run("ping", "-c", "3", mover.address)
    third.docker("restart", "-t", "0", f"netvps-vps-{lab.show(mover.name)['uid']}")  # its address is not given yet
    third.start_process()
    wait(lambda: lab.online() == lab.count, "its runner is back")
    site.mover = lab.session(mover.name)
    wait(lambda: addresses(site.mover) == [mover.address], "it has its address")
    lab.settle()
    site.is_reached()
    lab.netvps("stop", mover.name)
    lab.netvps("start", mover.name)
    site.mover = lab.session(mover.name)
    assert site.mover.address == mover.address
    site.is_reached()
    inside = third.docker("exec", f"netvps-vps-{lab.show(mover.name)['uid']}", "/bin/busybox", "cat", "/etc/hosts")
    assert f"{mover.address}\t{mover.name}" in inside


def test_at_home_again_it_needs_no_route_and_no_other_session_had_its_address(lab: Lab, site: Site) -> None:
    site.move(lab.hosts[0])
    assert site.host_routes() == {}
    site.is_reached()
    assert check(lab) == []
    for host in lab.hosts:
        assert not [cidr for cidr in host.view_and_kernel()[1].routes if cidr.endswith("/32")]
