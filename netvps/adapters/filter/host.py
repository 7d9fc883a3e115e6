"""Keeps sessions without the overlay from services of their machine, as the overlay's rules do for those on it.

Docker leads packets from a container to its bridge's address, and so to whatever listens on all addresses of the
machine; its API has no option against that. So a table of its own drops what comes from the bridges of owners' networks
(`nvi…`) and is for the machine itself, for a port that another container publishes there, or for link-local addresses,
where clouds keep a machine's credentials. What it lets pass, tables of others may still drop.

The rules are the same for all runners of a machine, and stay when they end, as the sessions do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.netlink.privilege import unprivileged
from netvps.domain.docker_names import ISOLATED_BRIDGES
from netvps.domain.overlay.nft import Chain, Ruleset, Table
from netvps.errors import NetvpsError

TABLE: Final = "inet netvps-isolated"
_FROM: Final = f'iifname "{ISOLATED_BRIDGES}*"'
_LINK_LOCAL: Final = "169.254.0.0/16"
_RESOLV_CONFS: Final = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""Where Docker finds the name servers that a container asks: the second where the first names 127.0.0.53 alone."""
_LARGEST: Final = 64 * 1024
_AT_MOST: Final = 16


class HostFilter:
    """Fulfils runner.ports.HostFilter."""

    def __init__(
        self,
        nftables: Nftables,
        resolv_confs: tuple[Path, ...] = _RESOLV_CONFS,
        refusal: Callable[[], str] = unprivileged,
    ) -> None:
        """`refusal` says why this process may write no rules, or ""."""
        self._nftables = nftables
        self._resolv_confs = resolv_confs
        self._refusal = refusal
        self._loaded: Ruleset | None = None

    async def keep(self) -> str:
        """Loads the rules unless they are there; returns why they are not, with what to do, or ""."""
        if why := self._refusal():
            return f"sessions without the overlay reach what listens on all addresses of this machine: {why}"
        try:
            rules = await asyncio.to_thread(self._rules)
            there = (
                await self._nftables.loaded()
            )  # also asked where the rules are others: only what is there is changed
            if not there or rules != self._loaded:
                self._loaded = None
                await self._nftables.load(rules)
                self._loaded = rules
        except NetvpsError as error:
            return (
                f"sessions without the overlay may reach what listens on all addresses of this machine: {error.message}"
            )
        return ""

    async def remove(self) -> None:
        """Removes the rules; what is gone is no error."""
        self._loaded = None
        await self._nftables.remove([TABLE])

    def _rules(self) -> Ruleset:
        return ruleset(name_servers(self._resolv_confs))


def ruleset(servers: tuple[str, ...]) -> Ruleset:
    """The rules; `servers` are addresses that sessions may ask for names, also where they are the machine's own."""
    names = (
        f"{'ip6' if ':' in server else 'ip'} daddr {server} {protocol} dport 53 accept"
        for server in servers
        for protocol in ("udp", "tcp")
    )
    return Ruleset(
        {
            TABLE: Table(
                chains={
                    "input": Chain((f"{_FROM} jump to-machine",), "type filter hook input priority 0"),
                    "forward": Chain((f"{_FROM} jump to-outside",), "type filter hook forward priority 0"),
                    "to-machine": Chain(("ct state established,related accept", *names, "drop")),
                    "to-outside": Chain(("ct status dnat drop", f"ip daddr {_LINK_LOCAL} drop")),
                }
            )
        }
    )


def name_servers(files: tuple[Path, ...]) -> tuple[str, ...]:
    """Addresses that files like resolv.conf(5) name, in order, without those of the loopback."""
    found: dict[str, None] = {}
    for file in files:
        try:
            with file.open("rb") as opened:
                text = opened.read(_LARGEST).decode(errors="replace")
        except OSError:
            continue
        for words in map(str.split, text.splitlines()):
            if len(words) > 1 and words[0] == "nameserver" and _is_elsewhere(words[1]):
                found[words[1]] = None
    return tuple(found)[:_AT_MOST]


def _is_elsewhere(text: str) -> bool:
    try:
        return "%" not in text and not ip_address(text).is_loopback
    except ValueError:
        return False
