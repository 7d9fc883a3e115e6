"""`program`: a kernel with so many peers, from nothing; and one peer that comes, moves and goes among 5,000.

Ours is all that a runner does: plan, diff, and packed netlink messages. The reference is `ip -batch` for neighbours and
routes with `bridge -batch` for FDB entries, files written beforehand.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from dataclasses import replace
from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path
from typing import Final

from bench.result import Goal, Measure, Row
from bench.turns import in_turn, milliseconds
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.domain.overlay.diff import diff
from netvps.domain.overlay.fabric import Fabric, device_mac
from netvps.domain.overlay.links import KernelState
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.plan import plan
from netvps.domain.overlay.view import View
from netvps.domain.runner import Lease, Underlay
from tests.namespaces import namespace

_SIZES: Final = (1, 100, 1_000, 5_000)
_FABRIC: Final = Fabric("benchmark", pool="10.0.0.0/8")
_TIMES: Final = Goal(Measure.RATIO, 1.5)
_ONE_PEER: Final = Goal(Measure.MEDIAN, 5)


def measure(rounds: int) -> list[Row]:
    """A row for each number of peers, and for what happens among the most."""
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
        self._kernel = NetlinkKernel()
        self._loop.run(self._kernel.__aenter__())
        self._peers = [_peer(number, str(net)) for number, net in enumerate(_subnets())]
        self._me = self._peers.pop(0)
        self._bare = plan(self._view([]))
        self._make(self._bare)

    def close(self) -> None:
        self._make(KernelState())
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
        *peers, last = self._peers
        moved = replace(last, underlay=Underlay(("192.0.2.99",), 1450))
        without = Netmap().updated(NetmapUpdate(1, peers=(self._me, *peers)))
        with_it = without.updated(NetmapUpdate(2, peers=(last,)))
        with_moved = with_it.updated(NetmapUpdate(3, peers=(moved,)))
        known = plan(self._viewed(without))
        self._make(known)
        batches = self._batches([last])

        def step(netmap: Netmap) -> float:
            nonlocal known
            desired = known

            def work() -> None:
                nonlocal desired
                desired = plan(self._viewed(netmap))
                self._apply(desired, known)

            took = milliseconds(work)
            known = desired
            return took

        def reference() -> float:
            took = milliseconds(lambda: _run(*batches))
            self._make(known)
            return took

        taken = in_turn(
            rounds,
            {
                "comes": lambda: step(with_it),
                "moves": lambda: step(with_moved),
                "goes": lambda: step(without),
                "ip, bridge": reference,
            },
        )
        look = in_turn(rounds, {"ours": lambda: milliseconds(self._dump)})
        compare = in_turn(rounds, {"ours": lambda: milliseconds(lambda: diff(known, self._dumped))})
        return [
            Row(
                "one peer more than 5,000", "ms", {"ours": taken["comes"], "ip, bridge": taken["ip, bridge"]}, _ONE_PEER
            ),
            Row("one of 5,000 moves", "ms", {"ours": taken["moves"]}, _ONE_PEER),
            Row("one of 5,000 goes", "ms", {"ours": taken["goes"]}, _ONE_PEER),
            Row("5,000 peers dumped", "ms", look),
            Row("5,000 peers compared, all as they are", "ms", compare),
        ]

    def _view(self, peers: list[Peer]) -> View:
        return self._viewed(Netmap().updated(NetmapUpdate(1, peers=(self._me, *peers))))

    def _viewed(self, netmap: Netmap) -> View:
        return View(self._me.runner, _FABRIC, self._me.lease, self._me.underlay, netmap)

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


def _run(ip: Path, bridge: Path) -> None:
    """FDB first: a route is there only with its way."""
    subprocess.run(["bridge", "-batch", bridge], check=True, timeout=120)
    subprocess.run(["ip", "-batch", ip], check=True, timeout=120)


def _subnets() -> list[IPv4Network]:
    return list(islice(IPv4Network(_FABRIC.pool).subnets(new_prefix=22), max(_SIZES) + 2))


def _peer(number: int, cidr: str) -> Peer:
    uid = f"runner{number}"
    address = f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}" if number else "192.0.2.1"
    return Peer(uid, uid, Lease(cidr, uid, 1), device_mac(_FABRIC, uid), Underlay((address,), 1450))
