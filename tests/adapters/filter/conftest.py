"""A lab for each file, with the filter loaded on all its runners."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial

import pytest

from netvps.adapters.bpf.fast_path import FastPath
from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.overlay import OverlayFilter
from tests.adapters.filter.site.lab import PORTS, RUNNERS, Lab, made_lab, view


@pytest.fixture(scope="module")
def hosts() -> Iterator[Lab]:
    """The namespaces, without a filter."""
    with made_lab() as made:
        yield made


def overlay_filter(hosts: Lab, runner: str, *, fast: bool = True) -> OverlayFilter:
    """The real thing, in a runner's namespace; no firewalld runs there. Not `fast`: all takes the slow path."""

    async def ports() -> Mapping[str, str]:
        return PORTS

    enter = hosts.enter(runner)
    fast_path = FastPath(wanted=fast, inside=partial(hosts.inside, runner))
    iptables, firewalld = Iptables(prefix=enter), Firewalld(program="no-firewalld")
    return OverlayFilter(Nftables((*enter, "nft")), iptables, firewalld, ports, fast_path=fast_path)


@pytest.fixture(scope="module", params=[False, True], ids=["the slow path", "the fast path"])
def filtered(hosts: Lab, request: pytest.FixtureRequest) -> Lab:
    """The namespaces, filtered."""
    return _filtered(hosts, fast=request.param)


@pytest.fixture(scope="module")
def long_way(hosts: Lab) -> Lab:
    """The same, and no packet skips the rules of others."""
    return _filtered(hosts, fast=False)


def _filtered(hosts: Lab, *, fast: bool) -> Lab:
    async def load() -> None:
        for runner in RUNNERS:
            await overlay_filter(hosts, runner, fast=fast).load(view(runner))

    asyncio.run(load())
    for runner in RUNNERS:
        assert ("netvps/arriving" in hosts.run(runner, *["tc", "filter", "show", "dev", "nv0", "ingress"])) == fast
    return hosts


@pytest.fixture(params=["0", "1"], ids=["bridged", "br_netfilter"])
def lab(filtered: Lab, request: pytest.FixtureRequest) -> Lab:
    """With and without bridged packets in the inet family."""
    for runner in RUNNERS:
        filtered.write(runner, "bridge/bridge-nf-call-iptables", request.param)
    return filtered
