"""Protects services of the machine from sessions without the overlay; the overlay's rules do it for the others.

Docker routes packets from a container to its bridge's address, and so to whatever listens on all addresses of the
machine; its API has no option against that. A table of our own drops packets that enter by the bridges of owners'
networks (`nvi…`) and are for the machine itself, for a port that another container publishes there, or for link-local
addresses, where clouds serve the machine's credentials. Other tables may still drop what it accepts.

The rules are the same for all runners of a machine, and stay loaded when they end, as the sessions keep running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.rules.nft import Chain, Ruleset, Table
from netvps.adapters.netlink.privilege import unprivileged
from netvps.domain.runner.docker_names import ISOLATED_BRIDGES
from netvps.errors import NetvpsError

TABLE: Final = "inet netvps-isolated"
_FROM: Final = f'iifname "{ISOLATED_BRIDGES}*"'
_LINK_LOCAL: Final = "169.254.0.0/16"
_RESOLV_CONFS: Final = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""Where Docker finds the name servers of containers: the second file if the first names only 127.0.0.53."""
_LARGEST: Final = 64 * 1024
_AT_MOST: Final = 16


class HostFilter:
    """Implements runner.ports.HostFilter."""

    def __init__(
        self,
        nftables: Nftables,
        resolv_confs: tuple[Path, ...] = _RESOLV_CONFS,
        refusal: Callable[[], str] = unprivileged,
    ) -> None:
        """`refusal` returns why this process may not write rules, or ""."""
        self._nftables = nftables
        self._resolv_confs = resolv_confs
        self._refusal = refusal
        self._loaded: Ruleset | None = None

    async def ensure(self) -> str:
        """Loads the rules unless they are loaded; returns why they are not, with what to do, or ""."""
        if why := self._refusal():
            return f"sessions without the overlay reach what listens on all addresses of this machine: {why}"
        try:
            rules = await asyncio.to_thread(self._rules)
            # Called even where the rules differ: `load` writes a difference to what is known to be in the kernel.
            there = await self._nftables.loaded()
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
        """Removes the rules; idempotent."""
        self._loaded = None
        await self._nftables.remove([TABLE])

    def _rules(self) -> Ruleset:
        return ruleset(name_servers(self._resolv_confs))


def ruleset(servers: tuple[str, ...]) -> Ruleset:
    """Builds the rules; `servers` are name servers that sessions may query, even at the machine's own addresses."""
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
    """Reads the name servers of resolv.conf(5) files, in order, without loopback addresses."""
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
