"""The nftables table of family bridge: traffic between sessions on one bridge, and anti-spoofing.

Kernels may lack `meta ibrname` and connection tracking for bridges, and whether br_netfilter shows bridged packets to
the inet family is a setting of the machine. So this table, which sees the frames of all bridges, recognises the
overlay's frames by their ports, and by the addresses and MACs of the pool, which no other bridge uses. A port that is
not known yet (its session has just started) may send only as a session whose port is not known either.

Multicast reaches the sessions of the sender's owner behind known ports. It is matched by output port, because a group
has no owner: the bridge does no IGMP snooping and sends such frames to every port, each through `forward`.

No hook sees frames of link-local protocols (01:80:c2:00:00:0E), yet a bridge learns from them by default. The overlay's
bridge is made with `no_linklocal_learn`; otherwise a session could take over another session's frames by sending one
LLDP frame with that session's MAC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import Final

from netvps.adapters.filter.rules.nft import Chain, Set, Table
from netvps.adapters.filter.rules.owners import owner_name, owner_table
from netvps.domain.overlay.netmap import Endpoint, addresses_by_owner
from netvps.domain.overlay.settings import MULTICAST, session_mac

_OWNER_RULES: Final = (
    "ip daddr @{name} accept",
    "arp daddr ip @{name} accept",
    f"oifname @ports-{{name}} ip daddr {MULTICAST} accept",
)


def bridge_table(pool: str, local: Sequence[Endpoint], ports: Mapping[str, str]) -> Table:
    """The table of family bridge. `ports` maps session addresses to bridge ports, as far as known."""
    known = [end for end in local if end.address in ports]
    bound = {f'"{ports[end.address]}" . {_pair(end)}' for end in known}
    addresses = addresses_by_owner(local, local)
    owners = owner_table(local, addresses, _OWNER_RULES)
    behind = {
        owner: frozenset(f'"{ports[one]}"' for one in owned if one in ports) for owner, owned in addresses.items()
    }
    sets = {
        "ports": Set("ifname", frozenset(f'"{ports[end.address]}"' for end in known)),
        "bound": Set("ifname . ether_addr . ipv4_addr", frozenset(bound)),
        "unbound": Set("ether_addr . ipv4_addr", frozenset(_pair(end) for end in local if end.address not in ports)),
    }
    sets |= {f"ports-{owner_name(owner)}": Set("ifname", links) for owner, links in behind.items()}
    return Table({**sets, **owners.sets}, {**owners.chains, **_chains(pool)})


def _pair(end: Endpoint) -> str:
    return f"{session_mac(end.address)} . {end.address}"


def _chains(pool: str) -> dict[str, Chain]:
    mac, bound = f"ether saddr {_macs(pool)}", "iifname . {mac} . {ip} @bound"
    return {
        "known-port": Chain(_speaks_for(bound)),
        "unknown-port": Chain(_speaks_for("{mac} . {ip} @unbound")),
        "between": Chain(("ip saddr vmap @owners", "arp saddr ip vmap @owners", "drop")),
        # Runs before the bridge learns the sender's MAC.
        "prerouting": Chain(
            (
                _says_ip(bound),  # first, because nearly all frames match it
                "iifname @ports goto known-port",
                f"{mac} goto unknown-port",
                f"ip saddr {pool} goto unknown-port",
                f"arp saddr ip {pool} goto unknown-port",
            ),
            "type filter hook prerouting priority -300",
        ),
        "forward": Chain(
            (
                "oifname @ports goto between",
                f"ip saddr {pool} goto between",
                f"ip daddr {pool} goto between",
                f"arp saddr ip {pool} goto between",
                f"arp daddr ip {pool} goto between",
            ),
            "type filter hook forward priority 0",
        ),
    }


def _speaks_for(match: str) -> tuple[str, ...]:
    """Accepts IPv4 and ARP from a session's own addresses and drops all else: no IPv6, no VLANs."""
    arp = (match.format(mac=mac, ip="arp saddr ip") for mac in ("ether saddr", "arp saddr ether"))
    return _says_ip(match), f"ether type arp {' '.join(arp)} accept", "drop"


def _says_ip(match: str) -> str:
    return f"ether type ip {match.format(mac='ether saddr', ip='ip saddr')} accept"


def _macs(pool: str) -> str:
    """Matches the MACs that `session_mac` derives from the addresses of the pool."""
    network = IPv4Network(pool)
    mask = (0xFFFF << 32 | int(network.netmask)).to_bytes(6).hex(":")
    return f"& {mask} == {session_mac(str(network.network_address))}"
