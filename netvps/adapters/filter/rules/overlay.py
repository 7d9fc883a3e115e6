"""Who may communicate with whom on the overlay, as nftables rules computed from a runner's view.

Sessions of one owner may communicate, sessions of different owners may not. Each packet is decided by its two addresses
and not by connection tracking, so that an address given to another session takes no established connection along. The
machine of a gateway may ping all sessions and connect to the agent's SSH server, which requires a certificate; no other
port, because every other process on that machine has the same address. All this depends on source addresses that
cannot be spoofed, so they are checked where a packet arrives:

    underlay ─► input       its sender is a runner of the netmap, and the inner MAC is that runner's
    nv0      ─► prerouting  its source is in the subnet of the runner with this MAC, or moved to that runner
    nvbr0    ─► prerouting  its source and MAC are a local session's (`bridge_filter`: and its port)

The tables only drop: a packet that they accept may still be dropped by another table (see adapters/filter/iptables.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from netvps.adapters.filter.rules.bridge import bridge_table
from netvps.adapters.filter.rules.nft import Chain, Edit, Ruleset, Set, Table
from netvps.adapters.filter.rules.owners import owner_table
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, ObjectNames
from netvps.domain.overlay.netmap import Endpoint, Netmap, Peer, addresses_by_owner, holders
from netvps.domain.overlay.settings import MULTICAST, bridge_address, endpoint_address, session_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.docker_names import NETWORK_SUBNET
from netvps.domain.runner.runner import Lease
from netvps.domain.tunnel import SSH_PORT

Links = Mapping[str, str]
"""Bridge ports by the address of the session behind each."""
_LINK_LOCAL: Final = "169.254.0.0/16"
"""Never forwarded (RFC 3927): clouds serve a machine's credentials there."""
_INNER_SOURCE_MAC: Final = "@th,192,32"
"""The last 4 bytes of the inner source MAC of a VXLAN packet (RFC 7348): after 8 bytes of UDP, 8 of VXLAN, 6 of
destination MAC, and the first 2 bytes.
"""
_ERRORS: Final = "{ destination-unreachable, time-exceeded, parameter-problem }"
_MANY: Final = 1 << 16
_OWNER_RULES: Final = ("ip daddr @{name} accept",)
_RECEIVER_RULES: Final = ("ip saddr @{name} accept",)


def ruleset(view: View, ports: Mapping[str, str] | None = None, names: ObjectNames = OBJECT_NAMES) -> Ruleset:
    """All rules of a runner. `ports` maps session addresses to the bridge ports in front of them, as far as known.

    Raises InvalidInput if the netmap has an owner with an invalid name.
    """
    ends = holders(view.netmap.endpoints.values())
    local = sorted(filter(view.holds, ends), key=lambda end: end.address)
    return Ruleset(
        {
            f"inet {names.table}": _inet_table(view, local, ends, names),
            f"bridge {names.table}": bridge_table(view.overlay_settings.pool, local, ports or {}),
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
            "moved": Set("ether_addr . ipv4_addr", frozenset(_moved(view, ends))),
            "away": Set("ipv4_addr", frozenset(end.address for end in ends if end.runner)),
            "runners": Set("ipv4_addr", frozenset(endpoint_address(peer.lease.cidr) for peer in peers)),
            "gateways": Set("ipv4_addr", frozenset(gateways)),
            "senders": Set("ipv4_addr . mark", _senders(peers, ipv6=False)),
            "senders6": Set("ipv6_addr . mark", _senders(peers, ipv6=True)),
            **owners.sets,
        },
        chains={**owners.chains, **_chains(view, names)},
    )


def _moved(view: View, ends: Iterable[Endpoint]) -> Iterator[str]:
    """The addresses of sessions outside the subnet of their address, each with the MAC of its runner."""
    for end in ends:
        if end.runner and end.runner != view.runner and (peer := view.netmap.peers.get(end.runner)):
            yield f"{peer.mac} . {end.address}"


def _host_addresses(lease: Lease) -> tuple[str, str]:
    """The overlay addresses of a runner's machine."""
    return endpoint_address(lease.cidr), bridge_address(lease.cidr)


def _senders(peers: Iterable[Peer], *, ipv6: bool) -> frozenset[str]:
    """Underlay addresses, each with the last bytes of the MAC inside."""
    return frozenset(
        f"{address} . {mark}"
        for peer in peers
        for address in peer.underlay.addresses
        if (":" in address) == ipv6
        for mark in _marks(peer.mac)
    )


@lru_cache(_MANY)
def _marks(mac: str) -> frozenset[int]:
    """Marks of the last bytes of a MAC: `meta mark set` keeps their order in nft before 1.0.8, and swaps it later."""
    end = bytes.fromhex(mac.replace(":", ""))[2:]
    return frozenset({int.from_bytes(end, "big"), int.from_bytes(end, "little")})


def _chains(view: View, names: ObjectNames) -> dict[str, Chain]:
    device, bridge = f'"{names.device}"', f'"{names.bridge}"'
    overlay = f"{{ {device}, {bridge} }}"
    endpoint, gateway = _host_addresses(view.lease)
    ours = f"{endpoint}/31"  # both addresses: a mask is faster than a set
    pool, tunnel = view.overlay_settings.pool, f"udp dport {view.overlay_settings.port}"
    return {
        # Before connection tracking, so that spoofed packets create no entry.
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
                # A moved address is accepted from its runner, and not from the one that it left.
                "ether saddr . ip saddr @moved goto tracking-in",
                "ip saddr @away drop",
                f"ether saddr . ip saddr & {view.netmask} @subnets goto tracking-in",
                "ether saddr . ip saddr @sources goto tracking-in",
                "drop",
            )
        ),
        "from-session": Chain(("ether saddr . ip saddr @pairs goto tracking-out", "drop")),
        # Connections are tracked only where one side may open them and the other may not. Untracked traffic is faster
        # and does not fill the conntrack table.
        "tracking-in": Chain((f"ip daddr {ours} accept", "ip saddr @gateways accept", "notrack")),
        "tracking-out": Chain(
            (f"ip daddr != {pool} accept", f"ip daddr {ours} accept", "ip daddr @gateways accept", "notrack")
        ),
        # Untracked packets are not masqueraded, so no container can send to a tunnel with this machine's address.
        "output": Chain((f"{tunnel} notrack",), "type filter hook output priority -300"),
        # Matches by way of the packet mark, which is reset afterwards: nft before 1.0.3 has no sets of raw payload
        # bits.
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
                f"iifname {device} ip saddr @runners ip daddr {endpoint} tcp dport {view.overlay_settings.port} accept",
                f"iifname {bridge} ip daddr {gateway} udp dport 53 accept",
                f"iifname {bridge} ip daddr {gateway} tcp dport 53 accept",
                "drop",
            ),
            "type filter hook input priority 0",
        ),
        # Matching an interface name is the most expensive test here, so names are matched first and once or twice each.
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
                # The rest leaves the overlay, but may not reach neighbours on other networks of this machine,
                *(f"ip daddr {cidr} drop" for cidr in (pool, NETWORK_SUBNET, _LINK_LOCAL)),
                # nor this machine: a port that a container publishes here is a port of the machine.
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
        # Multicast gets here only if br_netfilter shows bridged packets; the bridge table decides who receives it.
        "to-session": Chain(("ip saddr vmap @owners", f"ip daddr {MULTICAST} accept", "drop")),
        "outside": Chain(
            (f"ip saddr {pool} ip daddr != {pool} oifname != {overlay} masquerade",),
            "type nat hook postrouting priority 100",
        ),
    }


# Source subnets of runners as sets: `subnets`, MAC . first address, of those as large as the local one, whose source is
# masked for the lookup; `sources`, MAC . prefix, of all others, which exist if the pool's settings were changed. One
# interval set for all is avoided, because the kernel takes 18 ms to remove one element of thousands. `sources` keeps
# the name it had when it held all subnets: so entries of an earlier version stay valid while rules are only added.
_SOURCES: Final = "ether_addr . ipv4_addr"


def by_mask(view: View) -> Set:
    """Peers whose subnets are as large as the local one."""
    peers = (peer for peer in view.peers() if view.same_size(peer.lease.cidr))
    return Set(_SOURCES, frozenset(f"{peer.mac} . {endpoint_address(peer.lease.cidr)}" for peer in peers))


def by_prefix(view: View) -> Set:
    """All other peers."""
    peers = (peer for peer in view.peers() if not view.same_size(peer.lease.cidr))
    return Set(_SOURCES, frozenset(f"{peer.mac} . {peer.lease.cidr}" for peer in peers), interval=True)


def edited(rules: Callable[[View, Links], Ruleset], change: Change, view: View, before: Links, after: Links) -> Edit:
    """The edit for a change of the view, followed by the edit for a change of the ports, on the full `view`.

    The first part costs as much as the change, the second as much as the number of local sessions.
    """
    edit = rules(change.new, before).changes_from(rules(change.old, before))
    if before != after:
        here = replace(view, netmap=Netmap(endpoints={end.session: end for end in view.local_endpoints()}))
        edit += rules(here, after).changes_from(rules(here, before))
    return edit
