"""Who hears what, between the machines and sessions of a lab."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from netvps.domain.overlay.settings import bridge_address, device_mac, session_mac
from tests.adapters.filter.site.frames import ether, ipv4, udp, vxlan
from tests.adapters.filter.site.lab import OUT, RUNNERS, SESSIONS, SETTINGS, Lab

UDP_PORT = 7000
ADDRESS = {name: address for name, (_, address) in SESSIONS.items()}
MAC = {name: session_mac(address) for name, address in ADDRESS.items()}
UNDERLAY = {name: address for name, (address, _) in RUNNERS.items()}
BRIDGE = {name: bridge_address(cidr) for name, (_, cidr) in RUNNERS.items()}
HOME = {name: runner for name, (runner, _) in SESSIONS.items()}
END = b"this one may pass"


class Ear:
    """Hears what comes to a UDP port; a packet that no rule may drop marks the end."""

    def __init__(self, lab: Lab, name: str, port: int = UDP_PORT) -> None:
        self._lab = lab
        self._speaker = HOME.get(name, name)
        self.address = ADDRESS.get(name) or UNDERLAY.get(name, OUT)
        self._port = port
        self._socket = lab.open(name)
        self._socket.bind(("", port))

    def heard(self) -> list[bytes]:
        """All since the last time."""
        return [said for said, _ in self.heard_from()]

    def heard_from(self) -> list[tuple[bytes, str]]:
        """All since the last time, with the address of who said it."""
        with closing(self._lab.open(self._speaker)) as speaker:
            speaker.sendto(END, (self.address, self._port))
        said = iter(lambda: self._socket.recvfrom(2048), None)
        return [(text, source[0]) for text, source in itertools.takewhile(lambda pair: pair[0] != END, said)]

    def join(self, group: str) -> None:
        """Hears what is sent to a group, too."""
        membership = socket.inet_aton(group) + socket.inet_aton(self.address)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)

    def answer(self, text: bytes, address: tuple[str, int]) -> None:
        """From where it is heard at."""
        self._socket.sendto(text, address)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def ears(lab: Lab, *names: str, port: int = UDP_PORT) -> Iterator[list[Ear]]:
    made = [Ear(lab, name, port) for name in names]
    try:
        yield made
    finally:
        for ear in made:
            ear.close()


def say(lab: Lab, name: str, address: str, text: bytes, port: int = UDP_PORT) -> None:
    with closing(lab.open(name)) as mouth:
        mouth.sendto(text, (address, port))


@contextmanager
def connected(lab: Lab, caller: str, session: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with ExitStack() as stack:
        server, client = (
            stack.enter_context(closing(lab.open(name, socket.SOCK_STREAM))) for name in (session, caller)
        )
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((ADDRESS.get(session, ""), 22))
        server.listen()
        client.connect((ADDRESS.get(session, OUT), 22))
        yield client, stack.enter_context(closing(server.accept()[0]))


def put(lab: Lab, name: str, frame: bytes, link: str = "eth0") -> None:
    with closing(lab.wire(name, link)) as wire:
        wire.send(frame)


def bridged(sender: str, receiver: str, text: bytes, *, mac: str = "", address: str = "") -> bytes:
    """A frame to a neighbour on the bridge; with a foreign MAC or address."""
    packet = ipv4(address or ADDRESS[sender], ADDRESS[receiver], udp(UDP_PORT, text))
    return ether(mac or MAC[sender], MAC[receiver], packet)


def routed(lab: Lab, sender: str, target: str, text: bytes, *, mac: str = "", address: str = "") -> bytes:
    """A frame to the gateway, for whoever has the address `target`."""
    packet = ipv4(address or ADDRESS[sender], target, udp(UDP_PORT, text))
    return ether(mac or MAC[sender], bridge_mac(lab, HOME[sender]), packet)


def bridge_mac(lab: Lab, runner: str) -> str:
    return lab.run(runner, "ip", "-br", "link", "show", "nvbr0").split()[2]


def encapsulated(carrier: str, address: str, receiver: str) -> bytes:
    """A VXLAN packet's payload, from the device of a runner, through its runner; "out" is through "one"."""
    packet = ipv4(address, ADDRESS.get(receiver, OUT), udp(UDP_PORT, b"forged"))
    return vxlan(
        SETTINGS.vni, ether(device_mac(SETTINGS, carrier), device_mac(SETTINGS, HOME.get(receiver, "one")), packet)
    )
