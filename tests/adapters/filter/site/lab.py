"""Runners of an overlay as namespaces, with their sessions as namespaces on their bridges; no Docker.

one   192.0.2.1  10.128.0.0/22  ann1 .2  ann2 .3  bob1 .4             its bridge's ports are known
two   192.0.2.2  10.128.4.0/22  ann3 .2  bob2 .3  ann4 .4  ann5 .5    here only that of ann5
door  192.0.2.3  10.128.8.0/22  cyd1 .2                      a gateway
out   192.0.2.9                                              a machine that is on no overlay, with all routes
          └─ br0 in the namespace "switch"
"""

from __future__ import annotations

import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.settings import OverlaySettings, bridge_address, device_mac, endpoint_address, session_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from tests.support.namespaces import Namespace

SECONDS = 10.0
MTU = 1450
SETTINGS = OverlaySettings("lab")
RUNNERS = {
    "one": ("192.0.2.1", "10.128.0.0/22"),
    "two": ("192.0.2.2", "10.128.4.0/22"),
    "door": ("192.0.2.3", "10.128.8.0/22"),
}
OUT = "192.0.2.9"
SESSIONS = {
    "ann1": ("one", "10.128.0.2"),
    "ann2": ("one", "10.128.0.3"),
    "bob1": ("one", "10.128.0.4"),
    "ann3": ("two", "10.128.4.2"),
    "bob2": ("two", "10.128.4.3"),
    "ann4": ("two", "10.128.4.4"),
    "ann5": ("two", "10.128.4.5"),
    "cyd1": ("door", "10.128.8.2"),
}
PORTS = {address: f"p-{name}" for name, (runner, address) in SESSIONS.items() if runner == "one" or name == "ann5"}


def peer(name: str) -> Peer:
    """A runner of the lab as the netmap has it; its name is its uid."""
    address, cidr = RUNNERS[name]
    mac = device_mac(SETTINGS, name)
    return Peer(name, name, Lease(cidr, name, 1), mac, Underlay((address, ipv6(address)), MTU), gateway=name == "door")


def ipv6(address: str) -> str:
    """The other address of a machine on the underlay."""
    return f"2001:db8::{address.rpartition('.')[2]}"


def netmap() -> Netmap:
    """Of the whole lab; a session's name begins with its owner's."""
    endpoints = (Endpoint(f"uid-{name}", name, name[:3], address) for name, (_, address) in SESSIONS.items())
    return Netmap().updated(NetmapUpdate(1, tuple(map(peer, RUNNERS)), tuple(endpoints)))


def view(runner: str, known: Netmap | None = None) -> View:
    """Where a runner of the lab stands."""
    mine = peer(runner)
    return View(runner, SETTINGS, mine.lease, mine.underlay, netmap() if known is None else known)


@dataclass(frozen=True)
class Lab:
    """The namespaces; names of machines and sessions are those of the drawing."""

    prefix: str

    def enter(self, name: str) -> tuple[str, ...]:
        """What to put before a command, that it runs there."""
        return ("nsenter", f"--net=/run/netns/{self.prefix}-{name}")

    def run(self, name: str, *command: str, stdin: str = "", check: bool = True) -> str:
        answer = subprocess.run(
            [*self.enter(name), *command], input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        assert answer.returncode == 0 or not check, answer.stderr
        return answer.stdout

    def inside(self, name: str) -> AbstractContextManager[None]:
        """This thread is in a namespace: sockets made there stay there."""
        return Namespace(f"{self.prefix}-{name}").inside()

    def write(self, name: str, sysctl: str, value: str) -> None:
        with self.inside(name):
            Path("/proc/sys/net", sysctl).write_text(value)

    def open(self, name: str, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
        with self.inside(name):
            made = socket.socket(socket.AF_INET, kind)
        made.settimeout(SECONDS)
        return made

    def wire(self, name: str, link: str = "eth0") -> socket.socket:
        """Frames as they are on a link."""
        with self.inside(name):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
            made.bind((link, 0))
        made.settimeout(SECONDS)
        return made


@contextmanager
def made_lab() -> Iterator[Lab]:
    """Makes all of it; nothing is left afterwards."""
    made = Lab(f"nvf{secrets.token_hex(3)}")
    names = ["switch", "out", *RUNNERS, *SESSIONS]
    with ExitStack() as stack:
        for name in names:
            _ip("netns", "add", f"{made.prefix}-{name}")
            stack.callback(_ip, "netns", "delete", f"{made.prefix}-{name}")
            made.run(name, "ip", "link", "set", "lo", "up")
        made.run("switch", "ip", "-b", "-", stdin="link add br0 type bridge\nlink set br0 up\n")
        for name, address in {"out": OUT, **{name: address for name, (address, _) in RUNNERS.items()}}.items():
            _plug(made, Port("switch", f"port-{name}", "br0"), name, f"{address}/24")
            made.run(name, "ip", "address", "add", f"{ipv6(address)}/64", "dev", "eth0", "nodad")
        for name in RUNNERS:
            _overlay(made, name)
        for session, (name, address) in SESSIONS.items():
            attach(made, name, session, address)
        for address, cidr in RUNNERS.values():
            made.run("out", "ip", "route", "add", cidr, "via", address)
        yield made


def attach(made: Lab, runner: str, session: str, address: str) -> None:
    """Puts a session on its runner's bridge, as Docker does."""
    gateway = bridge_address(RUNNERS[runner][1])
    _plug(made, Port(runner, f"p-{session}", "nvbr0"), session, f"{address}/22", session_mac(address))
    made.run(session, "ip", "route", "add", "default", "via", gateway)


def _overlay(made: Lab, name: str) -> None:
    gateway = bridge_address(RUNNERS[name][1])
    lines = [
        f"link add nvbr0 address {session_mac(gateway)} type bridge no_linklocal_learn 1 mcast_snooping 0",
        f"address add {gateway}/22 dev nvbr0",
        "link set nvbr0 up",
        f"route add default via {OUT}",
    ]
    made.run(name, "ip", "-b", "-", stdin="\n".join(lines))
    tunnel(made, name)
    made.write(name, "ipv4/ip_forward", "1")


def tunnel(made: Lab, name: str) -> None:
    """Makes a runner's VXLAN device, and the ways to the others by it."""
    address, cidr = RUNNERS[name]
    vxlan = f"type vxlan id {SETTINGS.vni} dstport {SETTINGS.port} local {address} nolearning"
    lines = [
        f"link add nv0 address {device_mac(SETTINGS, name)} mtu {MTU} {vxlan}",
        f"address add {endpoint_address(cidr)}/32 dev nv0",
        "link set nv0 up",
    ]
    fdb = []
    for other, (underlay, subnet) in RUNNERS.items():
        if other != name:
            next_hop, mac = endpoint_address(subnet), device_mac(SETTINGS, other)
            lines += [
                f"neighbour add {next_hop} lladdr {mac} dev nv0 nud permanent",
                f"route add {subnet} via {next_hop} dev nv0 onlink",
            ]
            fdb.append(f"fdb add {mac} dev nv0 dst {underlay} self permanent")
    made.run(name, "ip", "-b", "-", stdin="\n".join(lines))
    made.run(name, "bridge", "-b", "-", stdin="\n".join(fdb))


@dataclass(frozen=True)
class Port:
    """Of a bridge in a namespace."""

    hub: str
    name: str
    bridge: str


def _plug(made: Lab, port: Port, name: str, cidr: str, mac: str = "") -> None:
    """A link "eth0" in `name` that leads to the port."""
    given = ("address", mac) if mac else ()
    peer_end = ("peer", "name", port.name, "netns", f"{made.prefix}-{port.hub}")
    _ip("link", "add", "eth0", *given, "netns", f"{made.prefix}-{name}", "type", "veth", *peer_end)
    made.run(port.hub, "ip", "link", "set", port.name, "master", port.bridge, "up")
    made.run(name, "ip", "-b", "-", stdin=f"address add {cidr} dev eth0\nlink set eth0 up\n")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30, capture_output=True)
