"""Who may talk to whom on the overlay, as rules of nftables that follow from a runner's view of it.

Sessions of one owner may, and sessions of two may not. This is decided anew for each packet by its two addresses, not
by connection tracking: an address that changed hands takes no connection along. A gateway's machine may ping all
sessions, and call the agent's SSH server, which asks for a certificate; no other port, for whoever else is on that
machine has the same address. So it all stands on addresses that are nobody else's, and those are checked where a packet
comes in:

    underlay ─► input       its sender is a runner of the netmap, and the MAC inside is that runner's
    nv0      ─► prerouting  its source is in the subnet of the runner with this MAC
    nvbr0    ─► prerouting  its source and MAC are a session's of this machine (`bridge_filter`: and its port)

The tables only drop: what they let pass, another's may still drop (see adapters/iptables.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from netvps.domain.docker_names import NETWORK_SUBNET
from netvps.domain.overlay.bridge_filter import bridge_table
from netvps.domain.overlay.fabric import MULTICAST, bridge_address, endpoint_address, session_mac
from netvps.domain.overlay.links import OBJECT_NAMES, ObjectNames
from netvps.domain.overlay.netmap import Endpoint, Peer
from netvps.domain.overlay.nft import Chain, Ruleset, Set, Table
from netvps.domain.overlay.owner_rules import owner_table
from netvps.domain.overlay.owners import addresses_by_owner, holders
from netvps.domain.overlay.subnet_sets import by_mask, by_prefix
from netvps.domain.overlay.subnets import mask_of
from netvps.domain.overlay.view import View
from netvps.domain.runner import Lease
from netvps.domain.tunnel import SSH_PORT

_LINK_LOCAL: Final = "169.254.0.0/16"
"""Not to be routed (RFC 3927), and where clouds keep a machine's credentials."""
_INNER_SOURCE_MAC: Final = "@th,192,32"
"""Its last 4 bytes in a VXLAN packet: after 8 of UDP, 8 of VXLAN, 6 of the destination's MAC, and 2; RFC 7348."""
_ERRORS: Final = "{ destination-unreachable, time-exceeded, parameter-problem }"
_MANY: Final = 1 << 16
_OWNER_RULES: Final = ("ip daddr @{name} accept",)
_RECEIVER_RULES: Final = ("ip saddr @{name} accept",)


def ruleset(view: View, ports: Mapping[str, str] | None = None, names: ObjectNames = OBJECT_NAMES) -> Ruleset:
    """All rules of a runner; `ports` are its bridge's links, as far as known, by the session's address behind each.

    Raises InvalidInput if the netmap has an owner whose name is none.
    """
    ends = holders(view.netmap.endpoints.values())
    local = sorted(filter(view.holds, ends), key=lambda end: end.address)
    return Ruleset(
        {
            f"inet {names.table}": _inet_table(view, local, ends, names),
            f"bridge {names.table}": bridge_table(view.fabric.pool, local, ports or {}),
        }
    )


def _inet_table(view: View, local: Sequence[Endpoint], ends: Sequence[Endpoint], names: ObjectNames) -> Table:
    peers = list(view.peers())
    owners = owner_table(local, addresses_by_owner(local, ends), _OWNER_RULES, _RECEIVER_RULES)
    gateways = [address for peer in peers if peer.gateway for address in _host_addresses(peer.lease)]
    return Table(
        sets={
            "pairs": Set("ether_addr . ipv4_addr", frozenset(f"{session_mac(e.address)} . {e.address}" for e in local)),
            "subnets": by_mask(view),
            "sources": by_prefix(view),
            "runners": Set("ipv4_addr", frozenset(endpoint_address(peer.lease.cidr) for peer in peers)),
            "gateways": Set("ipv4_addr", frozenset(gateways)),
            "senders": Set("ipv4_addr . mark", _senders(peers, ipv6=False)),
            "senders6": Set("ipv6_addr . mark", _senders(peers, ipv6=True)),
            **owners.sets,
        },
        chains={**owners.chains, **_chains(view, names)},
    )


def _host_addresses(lease: Lease) -> tuple[str, str]:
    """Of a runner's machine on the overlay."""
    return endpoint_address(lease.cidr), bridge_address(lease.cidr)


def _senders(peers: Iterable[Peer], *, ipv6: bool) -> frozenset[str]:
    """Addresses on the underlay, each with what the MAC inside ends in."""
    return frozenset(
        f"{address} . {mark}"
        for peer in peers
        for address in peer.underlay.addresses
        if (":" in address) == ipv6
        for mark in _marks(peer.mac)
    )


@lru_cache(_MANY)
def _marks(mac: str) -> frozenset[int]:
    """What `meta mark set` makes of a MAC's last bytes: nft before 1.0.8 leaves their order, later ones turn it."""
    end = bytes.fromhex(mac.replace(":", ""))[2:]
    return frozenset({int.from_bytes(end, "big"), int.from_bytes(end, "little")})


def _chains(view: View, names: ObjectNames) -> dict[str, Chain]:
    device, bridge = f'"{names.device}"', f'"{names.bridge}"'
    overlay = f"{{ {device}, {bridge} }}"
    endpoint, gateway = _host_addresses(view.lease)
    ours = f"{endpoint}/31"  # both: a mask is quicker than a set
    pool, tunnel = view.fabric.pool, f"udp dport {view.fabric.port}"
    return {
        # Before connection tracking: what is not true leaves no trace.
        "prerouting": Chain(
            (
                f"iifname {device} goto from-tunnel",
                f"iifname {bridge} goto from-session",
                f"{tunnel} notrack",
            ),
            "type filter hook prerouting priority -300",
        ),
        "from-tunnel": Chain(
            (
                f"ether saddr . ip saddr & {mask_of(view)} @subnets goto tracking-in",
                "ether saddr . ip saddr @sources goto tracking-in",
                "drop",
            )
        ),
        "from-session": Chain(("ether saddr . ip saddr @pairs goto tracking-out", "drop")),
        # Only where one side may call and the other may not; the rest is quicker without it, and fills no table.
        "tracking-in": Chain((f"ip daddr {ours} accept", "ip saddr @gateways accept", "notrack")),
        "tracking-out": Chain(
            (f"ip daddr != {pool} accept", f"ip daddr {ours} accept", "ip daddr @gateways accept", "notrack")
        ),
        # Nor is a tunnel: so nobody here can send into others' under this machine's address, masqueraded.
        "output": Chain((f"{tunnel} notrack",), "type filter hook output priority -300"),
        # By way of the mark, which is for nothing else: nft before 1.0.3 knows no sets of raw bits.
        "from-underlay": Chain(
            (
                f"meta mark set {_INNER_SOURCE_MAC}",
                "ip saddr . meta mark @senders meta mark set 0 accept",
                "ip6 saddr . meta mark @senders6 meta mark set 0 accept",
                "drop",
            )
        ),
        "input": Chain(
            (
                f"{tunnel} goto from-underlay",
                f"iifname != {overlay} accept",
                "ct state established,related accept",
                f"ip daddr {ours} icmp type echo-request accept",
                f"iifname {device} ip saddr @runners ip daddr {endpoint} tcp dport {view.fabric.port} accept",
                f"iifname {bridge} ip daddr {gateway} udp dport 53 accept",
                f"iifname {bridge} ip daddr {gateway} tcp dport 53 accept",
                "drop",
            ),
            "type filter hook input priority 0",
        ),
        # To look at the name of a link is what takes longest here: so links first, and each once or twice.
        "forward": Chain(
            (
                f"iifname {device} goto arriving",
                f"iifname {bridge} goto leaving",
                f"oifname != {overlay} accept",
                f"oifname {bridge} ct state established,related accept",
                "drop",
            ),
            "type filter hook forward priority 0",
        ),
        "arriving": Chain(
            (
                f"oifname != {bridge} drop",
                "ip daddr vmap @receivers",
                f"ip saddr @gateways tcp dport {SSH_PORT} accept",
                "ip saddr @gateways icmp type echo-request accept",
                f"ip saddr @runners icmp type {_ERRORS} accept",
                "drop",
            )
        ),
        "leaving": Chain(
            (
                f"oifname {device} goto to-tunnel",
                f"oifname {bridge} goto to-session",
                # The rest goes from a session to the outside, which its neighbours on another network are not.
                *(f"ip daddr {cidr} drop" for cidr in (pool, NETWORK_SUBNET, _LINK_LOCAL)),
                # Nor is this machine: what a container publishes here is a port of it.
                "ct status dnat drop",
                f"{tunnel} drop",
            )
        ),
        "to-tunnel": Chain(
            (
                "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu",
                "ip saddr vmap @owners",
                "ip daddr @gateways ct state established,related accept",
                "drop",
            )
        ),
        # Multicast is here only where br_netfilter shows bridged packets: the bridge's table tells who hears it.
        "to-session": Chain(("ip saddr vmap @owners", f"ip daddr {MULTICAST} accept", "drop")),
        "outside": Chain(
            (f"ip saddr {view.lease.cidr} ip daddr != {pool} oifname != {overlay} masquerade",),
            "type nat hook postrouting priority 100",
        ),
    }
