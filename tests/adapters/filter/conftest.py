"""A lab for each file, with the filter loaded on all its runners."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import pytest

from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.overlay import OverlayFilter
from tests.adapters.filter.lab import PORTS, RUNNERS, Lab, made_lab, view


@pytest.fixture(scope="module")
def hosts() -> Iterator[Lab]:
    """The namespaces, without a filter."""
    with made_lab() as made:
        yield made


def overlay_filter(hosts: Lab, runner: str) -> OverlayFilter:
    """The real thing, in a runner's namespace; no firewalld runs there."""

    async def ports() -> Mapping[str, str]:
        return PORTS

    enter = hosts.enter(runner)
    return OverlayFilter(Nftables((*enter, "nft")), Iptables(prefix=enter), Firewalld(program="no-firewalld"), ports)


@pytest.fixture(scope="module")
def filtered(hosts: Lab) -> Lab:
    """The namespaces, filtered."""

    async def load() -> None:
        for runner in RUNNERS:
            await overlay_filter(hosts, runner).load(view(runner))

    asyncio.run(load())
    return hosts


@pytest.fixture(params=["0", "1"], ids=["bridged", "br_netfilter"])
def lab(filtered: Lab, request: pytest.FixtureRequest) -> Lab:
    """With and without bridged packets in the inet family."""
    for runner in RUNNERS:
        filtered.write(runner, "bridge/bridge-nf-call-iptables", request.param)
    return filtered
