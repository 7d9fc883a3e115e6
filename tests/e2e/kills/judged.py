"""What of the overlay on a host is not as planned: its kernel, its packet filter, its fast path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.network.overlay_network import OverlayNetwork
from netvps.adapters.filter.rules.nft import Ruleset
from netvps.adapters.filter.rules.overlay import ruleset
from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.plan import plan
from netvps.domain.overlay.view import View
from netvps.errors import NetvpsError
from tests.e2e.overlay.at_links import wrong_at_links
from tests.e2e.overlay.overlay_lab import Host
from tests.support.namespaces import Namespace, namespace


def wrong(host: Host, members: int | None = None) -> list[str]:
    """What on a host is not as planned; `members` is how many runners its map is to have."""
    try:
        view, actual = host.view_and_kernel()
        found = [str(operation) for operation in diff(plan(view), actual)]
        if members not in {None, len(view.netmap.peers)}:
            found.append(f"{len(view.netmap.peers)} runners are known instead of {members}")
        return found + _wrong_rules(host, view)
    except (AssertionError, NetvpsError) as error:
        return [str(error)]


def _wrong_rules(host: Host, view: View) -> list[str]:
    async def ports() -> Mapping[str, str]:
        docker = await Docker.open(host.docker_host)
        try:
            return await OverlayNetwork(docker).ports()
        finally:
            docker.close()

    with host.namespace.inside():
        known = asyncio.run(ports())
        found = wrong_at_links(view, known)
    rules = ruleset(view, known)
    with namespace() as scratch:
        scratch.run("nft", "-f", "-", stdin=rules.text)
        wanted, there = (_rules(place, rules) for place in (scratch, host.namespace))
    found += [f"missing: {line}" for line in sorted(wanted - there)]
    return found + [f"too much: {line}" for line in sorted(there - wanted)]


def accepts(host: Host) -> list[str]:
    """Of iptables, which are the same on all hosts."""
    return sorted(line for line in host.namespace.run("iptables", "-w", "-S").splitlines() if "NETVPS" in line)


def _rules(place: Namespace, rules: Ruleset) -> set[str]:
    """All of our tables there, an item for each rule and element."""
    found: set[str] = set()
    for name in rules.tables:
        listed = json.loads(place.run("nft", "-j", "list", "table", *name.split(), check=False) or '{"nftables": []}')
        for item in listed["nftables"]:
            for kind, value in item.items():
                elements = value.pop("elem", ()) if isinstance(value, dict) else ()
                where = f"{name} {value.get('chain') or value.get('name')}" if isinstance(value, dict) else name
                plain = {key: part for key, part in value.items() if key != "handle"}
                if kind != "metainfo":
                    found |= {f"{kind} {where}: {json.dumps(part)}" for part in (plain, *elements)}
    return found
