"""`overlay`: between two sessions on two machines, and between the same two machines otherwise.

The machines are namespaces on a switch of this kernel, so all of a packet's way is CPU time, and there is no wire that
hides it. The references: a VXLAN made by `ip` with the same MTU and no packet filter or connection tracking at all,
on two hosts beside; an overlay network of Docker Swarm on the same engines; and the bare underlay.

What sessions have beside the VXLAN by hand is rules, ours and Docker's on each machine; the fast path
(docs/adr/0017-fast-path-at-links.md) goes past them. A round trip without pauses, which keeps the caches warm, takes
18.0 µs by it, 19.2 by hand, and 22.4 with Swarm, whose packets are bridged into the tunnel and never routed. Without
the fast path it takes 27; with one after the other taken away, 24 (our rules), 22.5 (Docker's filter) and 19.5
(Docker's NAT on the machines, and with it the hooks of connection tracking, though neither is for these packets).
Docker's NAT in each container was another 1.2 (docs/adr/0016-no-nat-in-sessions.md).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bench.hosts import Way, ways
from bench.place import run
from bench.result import Goal, Measure, Row
from bench.turns import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS: Final = 3
_FULL: Final = "1400"  # bytes of data that fit in a packet of each way
_SMALL: Final = "18"  # a frame of 64 bytes
_PINGS: Final = 2000
_BY_HAND: Final = Goal(Measure.RATIO, 0.98, at_least=True)
_SWARM: Final = Goal(Measure.RATIO, 1.0, at_least=True)
_LONGEST: Final = Goal(Measure.RATIO, 1 / 0.98)


def measure(rounds: int) -> list[Row]:
    """A row for each measure, held against the VXLAN made by hand, and one against Swarm's."""
    if not shutil.which("iperf3"):
        run("apt-get", "install", "-qy", "--no-install-recommends", "iperf3")
    measures: list[tuple[str, str, Callable[[Way], float], tuple[Goal, Goal]]] = [
        ("TCP, one stream", "Gbit/s", _tcp, (_BY_HAND, _SWARM)),
        ("UDP, full size, that arrived", "Gbit/s", _udp, (_BY_HAND, _SWARM)),
        ("packets of 64 bytes that arrived", "1,000/s", _packets, (_BY_HAND, _SWARM)),
        ("round trip", "µs", _round_trip, (_LONGEST, Goal(Measure.RATIO, 1.0))),
    ]
    rows = []
    with ways() as all_ways, ExitStack() as stack:
        for way in all_ways.values():
            _serve(way, stack)
        for label, unit, of, (by_hand, swarm) in measures:
            taken = in_turn(rounds, {name: partial(of, way) for name, way in all_ways.items()})
            ours = {"netvps": taken["netvps"]}
            rows.append(Row(label, unit, taken, by_hand))
            rows.append(Row(f"{label}, beside Swarm", unit, ours | {"Docker Swarm": taken["Docker Swarm"]}, swarm))
    return rows


def _serve(way: Way, stack: ExitStack) -> None:
    server = subprocess.Popen([*way.server, "iperf3", "-s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(server.wait, 10)
    stack.callback(server.terminate)
    deadline = time.monotonic() + 20
    while ":5201" not in run(*way.server, "ss", "-Hltn"):
        if time.monotonic() > deadline:
            raise RuntimeError("iperf3 does not listen")
        time.sleep(0.05)


def _iperf(way: Way, *arguments: str) -> dict[str, Any]:
    said = json.loads(run(*way.client, "iperf3", "-J", "-c", way.address, "-t", str(_SECONDS), *arguments))
    end: dict[str, Any] = said["end"]
    return end


def _tcp(way: Way) -> float:
    return float(_iperf(way)["sum_received"]["bits_per_second"]) / 1e9


def _datagrams(way: Way, size: str) -> float:
    """How many arrive in a second."""
    end = _iperf(way, "-u", "-b", "0", "-l", size)["sum"]
    return float((end["packets"] - end["lost_packets"]) / end["seconds"])


def _udp(way: Way) -> float:
    return _datagrams(way, _FULL) * int(_FULL) * 8 / 1e9


def _packets(way: Way) -> float:
    return _datagrams(way, _SMALL) / 1e3


def _round_trip(way: Way) -> float:
    """Of a ping, the mean."""
    said = run(*way.client, "/bin/busybox", "ping", "-q", "-i", "0.001", "-c", str(_PINGS), way.address)
    return float(said.rpartition("=")[2].split("/")[1]) * 1000
