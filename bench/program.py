"""`program`: programming the kernel with N peers from nothing; and one peer that comes, moves or goes among 5,000.

Ours is everything that a runner does: plan, diff, and packed netlink messages; for one peer, from the received update
of the netmap, and once more with the packet filter's rules, which are loaded before routes. The reference is `ip
-batch` for neighbours and routes with `bridge -batch` for FDB entries, from files written in advance.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path
from typing import Final

from bench.result import Goal, Measure, Row
from bench.turns import in_turn, milliseconds
from netvps.adapters.filter.batch import Batch
from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.generation import generation
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.overlay import OverlayFilter
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.dns import Directory
from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.links import Bridge, KernelState
from netvps.domain.overlay.kernel.plan import plan
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.settings import OverlaySettings, device_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from netvps.runner.overlay.reconcile import Reconciler
from tests.support.namespaces import namespace

_SIZES: Final = (1, 100, 1_000, 5_000)
_SETTINGS: Final = OverlaySettings("benchmark", pool="10.0.0.0/8")
_TIMES: Final = Goal(Measure.RATIO, 1.5)
_ONE_PEER: Final = Goal(Measure.MEDIAN, 5)


def measure(rounds: int) -> list[Row]:
    """Measures each number of peers, and single changes among the most."""
    with namespace("nvb") as host, host.inside(), tempfile.TemporaryDirectory() as folder:
        host.ip("address", "add", "192.0.2.1/32", "dev", "lo")
        site = _Site(Path(folder))
        try:
            rows = [site.from_nothing(size, rounds) for size in _SIZES]
            return [*rows, *site.one_of_many(rounds)]
        finally:
            site.close()


class _Site:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.Runner()
        self._kernel, self._batch = NetlinkKernel(), Batch()
        self._loop.run(self._kernel.__aenter__())
        self._peers = [_peer(number, str(net)) for number, net in enumerate(_subnets())]
        self._me = self._peers.pop(0)
        self._bare = plan(self._view([]))
        self._make(self._bare)

    def close(self) -> None:
        self._make(KernelState())
        self._batch.close()
        self._loop.run(self._kernel.__aexit__())
        self._loop.close()

    def from_nothing(self, size: int, rounds: int) -> Row:
        peers = self._peers[:size]
        view, batches = self._view(peers), self._batches(peers)

        def ours() -> float:
            before = self._dump()
            took = milliseconds(lambda: self._apply(plan(view), before))
            self._make(self._bare)
            return took

        def theirs() -> float:
            took = milliseconds(lambda: _run(*batches))
            self._make(self._bare)
            return took

        return Row(f"{size:,} peers from nothing", "ms", in_turn(rounds, {"ours": ours, "ip, bridge": theirs}), _TIMES)

    def one_of_many(self, rounds: int) -> list[Row]:
        """Measures from the received update to the programmed kernel, without and with the packet filter."""
        *peers, last = self._peers
        moved = replace(last, underlay=Underlay(("192.0.2.99",), 1450))
        updates = {
            "comes": NetmapUpdate(2, peers=(last,)),
            "moves": NetmapUpdate(3, peers=(moved,)),
            "goes": NetmapUpdate(4, gone_peers=(last.runner,)),
        }
        self._netmap = Netmap().updated(NetmapUpdate(1, peers=(self._me, *peers)))
        batches = self._batches([last])
        way = Reconciler(self._kernel, _NoNetwork(), _NoFilter(), _Names())
        rules = Nftables(generation=generation, batch=self._batch.change)
        nft = OverlayFilter(rules, Iptables(program="none"), Firewalld(program="none"), _NoNetwork().ports)
        all_of_it = Reconciler(self._kernel, _NoNetwork(), nft, _Names())

        def reference() -> float:
            took = milliseconds(lambda: _run(*batches))
            way.doubt()
            self._step(way, NetmapUpdate(5))
            return took

        self._step(way, NetmapUpdate(1))
        steps: dict[str, Callable[[], float]] = {
            name: partial(self._step, way, update) for name, update in updates.items()
        }
        taken = in_turn(rounds, {**steps, "ip, bridge": reference})
        self._step(all_of_it, NetmapUpdate(1))
        with_rules = in_turn(rounds, {name: partial(self._step, all_of_it, update) for name, update in updates.items()})
        known = plan(self._viewed(self._netmap))
        look = in_turn(rounds, {"ours": lambda: milliseconds(self._dump)})
        compare = in_turn(rounds, {"ours": lambda: milliseconds(lambda: diff(known, self._dumped))})
        beside = {"ours": taken["comes"], "ip, bridge": taken["ip, bridge"]}
        return [
            Row("one peer more than 5,000", "ms", beside, _ONE_PEER),
            *(Row(f"one of 5,000 {name}", "ms", {"ours": taken[name]}, _ONE_PEER) for name in ("moves", "goes")),
            *(
                Row(f"one of 5,000 {name}, with the rules of the packet filter", "ms", {"ours": took}, _ONE_PEER)
                for name, took in with_rules.items()
            ),
            Row("5,000 peers dumped", "ms", look),
            Row("5,000 peers compared, all as they are", "ms", compare),
        ]

    def _step(self, reconciler: Reconciler, update: NetmapUpdate) -> float:
        """Measures milliseconds from the update to the end of its pass."""

        async def round_() -> float:
            began = time.perf_counter()
            self._netmap = self._netmap.updated(update)
            outcome = await reconciler.make(self._viewed(self._netmap))
            took = (time.perf_counter() - began) * 1000
            assert not outcome.failures, outcome
            return took

        return self._loop.run(round_())

    def _view(self, peers: list[Peer]) -> View:
        return self._viewed(Netmap().updated(NetmapUpdate(1, peers=(self._me, *peers))))

    def _viewed(self, netmap: Netmap) -> View:
        return View(self._me.runner, _SETTINGS, self._me.lease, self._me.underlay, netmap)

    def _dump(self) -> KernelState:
        self._dumped = self._loop.run(self._kernel.dump())
        return self._dumped

    def _make(self, desired: KernelState) -> None:
        self._apply(desired, self._dump())

    def _apply(self, desired: KernelState, actual: KernelState) -> None:
        failures = self._loop.run(self._kernel.apply(diff(desired, actual)))
        assert not failures, failures[:3]

    def _batches(self, peers: list[Peer]) -> tuple[Path, Path]:
        ip, bridge = self._folder / f"ip{len(peers)}", self._folder / f"bridge{len(peers)}"
        gateways = [(peer, str(IPv4Network(peer.lease.cidr)[0])) for peer in peers]
        ip.write_text(
            "".join(
                f"neighbour replace {gateway} lladdr {peer.mac} dev nv0 nud permanent\n"
                f"route replace {peer.lease.cidr} via {gateway} dev nv0 onlink proto 201\n"
                for peer, gateway in gateways
            )
        )
        bridge.write_text(
            "".join(
                f"fdb replace {peer.mac} dev nv0 dst {peer.underlay.addresses[0]} self permanent\n" for peer in peers
            )
        )
        return ip, bridge


class _Names:
    """The DNS server without its sockets."""

    def __init__(self) -> None:
        self._directory = Directory()

    async def serve(self, view: View) -> None:
        self._directory.follow(view.netmap)

    async def close(self) -> None:
        """Does nothing."""


class _NoNetwork:
    """No container engine: not part of the measurement."""

    async def ensure(self, subnet: str, bridge: Bridge) -> None:
        """Does nothing."""

    async def ports(self) -> Mapping[str, str]:
        return {}

    async def remove(self) -> None:
        """Does nothing."""


class _NoFilter:
    """Routes without a packet filter."""

    async def unable(self) -> str:
        return ""

    async def load(self, view: View, change: Change | None = None) -> None:
        """Does nothing."""

    async def add(self, view: View) -> None:
        """Does nothing."""

    def reload_ports(self) -> None:
        """Does nothing."""

    async def loaded(self) -> bool:
        return True

    async def remove(self) -> None:
        """Does nothing."""


def _run(ip: Path, bridge: Path) -> None:
    """Runs both batches, FDB first: a route needs its FDB entry."""
    subprocess.run(["bridge", "-batch", bridge], check=True, timeout=120)
    subprocess.run(["ip", "-batch", ip], check=True, timeout=120)


def _subnets() -> list[IPv4Network]:
    return list(islice(IPv4Network(_SETTINGS.pool).subnets(new_prefix=22), max(_SIZES) + 2))


def _peer(number: int, cidr: str) -> Peer:
    uid = f"runner{number}"
    address = f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}" if number else "192.0.2.1"
    return Peer(uid, uid, Lease(cidr, uid, 1), device_mac(_SETTINGS, uid), Underlay((address,), 1450))
