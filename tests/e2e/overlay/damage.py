"""What other programs may do to a host's network: commands, chosen at random."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from tests.e2e.overlay.overlay_lab import Host

Command = tuple[str, ...]
UNUSED: Final = "192.0.2.250"
"""An address on the underlay that no machine has."""


@dataclass(frozen=True)
class Route:
    """What a host has for a peer."""

    cidr: str
    gateway: str
    mac: str


def ways(host: Host, spared: Collection[str] = ()) -> list[Route]:
    """Those of its peers, except these subnets."""
    macs = {found["dst"]: found.get("lladdr", "") for found in _json(host, "ip", "-j", "neigh", "show", "dev", "nv0")}
    routes = _json(host, "ip", "-j", "route", "show", "proto", "201")
    known = [Route(route["dst"], route.get("gateway", ""), macs.get(route.get("gateway", ""), "")) for route in routes]
    return [way for way in known if way.mac and way.cidr not in spared]


def entry(host: Host, choices: random.Random, spared: Collection[str]) -> Command | None:
    """One of a peer's three objects is gone, or is another."""
    known = ways(host, spared)
    if not known:
        return None
    way = choices.choice(known)
    route, neighbour = ("ip", "route"), ("ip", "neigh")
    through = (way.cidr, "via", way.gateway, "dev", "nv0", "onlink", "proto", "201")
    at = (way.gateway, "dev", "nv0")
    fdb = (way.mac, "dev", "nv0")
    commands: list[Command] = [
        (*route, "delete", way.cidr),
        (*route, "replace", *through, "mtu", "900"),
        (*route, "replace", "unreachable", way.cidr, "proto", "201"),
        (*neighbour, "delete", *at),
        (*neighbour, "replace", *at, "lladdr", _mac(choices), "nud", "permanent"),
        (*neighbour, "replace", *at, "lladdr", way.mac, "nud", "stale"),
        ("bridge", "fdb", "delete", *fdb, "self"),
        ("bridge", "fdb", "replace", *fdb, "dst", UNUSED, "self", "permanent"),
    ]
    return choices.choice(commands)


def planted(_host: Host, choices: random.Random, _spared: Collection[str]) -> Command:
    """What looks like ours, and is not."""
    low = choices.randrange(2, 250)
    commands: list[Command] = [
        ("ip", "route", "replace", "unreachable", f"10.191.{low}.0/24", "proto", "201"),
        ("ip", "route", "replace", f"10.191.{low}.0/24", "dev", "lo", "proto", "201"),
        ("ip", "route", "replace", f"10.191.{low}.0/24", "via", f"10.191.{low}.0", "dev", "nv0", "onlink", *_OURS),
        ("ip", "neigh", "replace", f"10.191.{low}.0", "dev", "nv0", "lladdr", _mac(choices), "nud", "permanent"),
        ("bridge", "fdb", "replace", _mac(choices), "dev", "nv0", "dst", UNUSED, "self", "permanent"),
        ("ip", "address", "replace", f"10.190.0.{low}/32", "dev", choices.choice(("nv0", "nvbr0"))),
    ]
    return choices.choice(commands)


def setting(_host: Host, choices: random.Random, _spared: Collection[str]) -> Command:
    """What stops no packet of a ping: MTU, what the bridge forgets, and what the kernel checks beside the filter."""
    link = choices.choice(("nv0", "nvbr0"))
    commands: list[Command] = [
        ("ip", "link", "set", link, "mtu", str(choices.randrange(1000, 1400))),
        ("ip", "link", "set", "nvbr0", "type", "bridge", "ageing_time", choices.choice(("0", "30000"))),
        ("sysctl", "-qw", f"net.ipv4.conf.{link}.rp_filter=1"),
        ("sysctl", "-qw", f"net.ipv4.conf.{link}.accept_redirects=1"),
        ("sysctl", "-qw", f"net.ipv4.conf.{link}.send_redirects=1"),
        ("sysctl", "-qw", f"net.ipv4.conf.{link}.arp_announce=0"),
        ("sysctl", "-qw", f"net.ipv6.conf.{link}.disable_ipv6=0"),
    ]
    return choices.choice(commands)


def filter_(host: Host, choices: random.Random, spared: Collection[str]) -> Command | None:
    """Rules that drop are gone, or elements that let others' packets pass.

    Never a set of ours that a packet on its way must be in: whoever deletes that loses it, whatever a runner does. Of
    the fast path all may go: packets take the slow path then.
    """
    commands: list[Command] = [
        ("nft", "flush", "table", "inet", "netvps"),
        ("nft", "flush", "table", "bridge", "netvps"),
        *(("nft", "flush", "chain", "inet", "netvps", chain) for chain in ("prerouting", "input", "from-tunnel")),
        ("tc", "filter", "delete", "dev", "nv0", "ingress"),
        ("iptables", "-F", "NETVPS-INPUT"),
        ("iptables", "-D", "INPUT", "-j", "NETVPS-INPUT"),
    ]
    if known := ways(host, spared):
        way = choices.choice(known)
        commands += [
            ("nft", "delete", "element", "inet", "netvps", "runners", f"{{ {way.gateway} }}"),
            ("nft", "delete", "element", "inet", "netvps", "subnets", f"{{ {way.mac} . {way.gateway} }}"),
        ]
    return choices.choice(commands)


def cut(host: Host, choices: random.Random, _spared: Collection[str]) -> Command:
    """What takes sessions off the overlay until it is repaired."""
    commands: list[Command] = [
        ("ip", "link", "delete", "nv0"),
        ("ip", "link", "delete", "nvbr0"),
        ("ip", "link", "set", "nv0", "down"),
        ("ip", "link", "set", "nvbr0", "down"),
        ("ip", "link", "set", "nv0", "type", "vxlan", "learning"),
        ("ip", "link", "set", "nv0", "address", _mac(choices)),
        ("ip", "link", "set", "nvbr0", "address", _mac(choices)),
        ("ip", "address", "flush", "dev", "nv0"),
        ("ip", "address", "flush", "dev", "nvbr0"),
        ("ip", "route", "flush", "proto", "201"),
        ("ip", "neigh", "flush", "dev", "nv0", "nud", "permanent"),
        ("bridge", "fdb", "flush", "dev", "nv0"),
        ("sysctl", "-qw", "net.ipv4.ip_forward=0"),
        ("sysctl", "-qw", "net.ipv4.conf.nv0.forwarding=0"),
        ("nft", "delete", "table", "inet", "netvps"),
        ("nft", "delete", "table", "bridge", "netvps"),
        ("nft", "flush", "set", "inet", "netvps", "pairs"),
        ("nft", "flush", "chain", "inet", "netvps", "from-session"),
        ("nft", "flush", "set", "inet", "netvps", "senders"),
        ("tc", "qdisc", "delete", "dev", "nv0", "clsact"),
        ("iptables", "-F", "NETVPS-FORWARD"),
        ("iptables", "-F", "DOCKER-USER"),
    ]
    ports = _json(host, "ip", "-j", "link", "show", "master", "nvbr0")
    if ports:
        port = choices.choice(ports)["ifname"]
        commands += [("ip", "link", "set", port, "nomaster"), ("ip", "link", "set", port, "down")]
    return choices.choice(commands)


Damage = Callable[[Host, random.Random, Collection[str]], Command | None]
_OURS = ("proto", "201")


def _mac(choices: random.Random) -> str:
    return f"02:00:{choices.randrange(256):02x}:{choices.randrange(256):02x}:00:01"


def _json(host: Host, *command: str) -> list[dict[str, Any]]:
    """Nothing where the link is gone."""
    found: list[dict[str, Any]] = json.loads(host.namespace.run(*command, check=False) or "[]")
    return [item for item in found if item]
