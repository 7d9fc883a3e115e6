"""`overlay`: between two sessions on two machines, and between the same two machines by other means.

The machines are namespaces on a switch of this kernel, so a packet's whole path is CPU time that no wire hides. The
references: a VXLAN made by `ip` with the same MTU and without packet filter or connection tracking, on two more hosts;
an overlay network of Docker Swarm on the same engines; and the bare underlay.

Compared with the manual VXLAN, sessions have rules, ours and Docker's on each machine; the fast path
(docs/adr/0017-fast-path-at-links.md) bypasses them. A round trip takes 18 µs with it and 27 µs without, 19 by the
manual VXLAN, and 22 with Swarm, whose packets are bridged into the tunnel and never routed. Removing one part after the
other gives 24 (our rules), 22.5 (Docker's filter) and 19.5 (Docker's NAT on the machines, and with it the hooks of
connection tracking, though neither is for these packets). Docker's NAT in each container was another 1.2
(docs/adr/0016-no-nat-in-sessions.md). These figures are of a program in C; the one used here takes about 4 µs more.

A round trip is measured twice: back to back, and with a pause of a millisecond each, in which caches cool and the CPU
idles. The latter varies between rounds by a tenth.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bench.hosts import Route, ways
from bench.pingpong import middle
from bench.place import run
from bench.result import Goal, Measure, Row
from bench.turns import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS: Final = 3
_FULL: Final = "1400"  # bytes of data that fit in a packet of each way
_SMALL: Final = "18"  # a frame of 64 bytes
_PINGS: Final = 1000
_SHORT_ROUNDS: Final = 3  # of pings, instead of one: their differences fluctuate
_BY_HAND: Final = Goal(Measure.RATIO, 0.98, at_least=True)
_SWARM: Final = Goal(Measure.RATIO, 1.0, at_least=True)
_LONGEST: Final = Goal(Measure.RATIO, 1 / 0.98)
_AS_LONG: Final = Goal(Measure.RATIO, 1.0)


def measure(rounds: int) -> list[Row]:
    """Measures each value against the manual VXLAN, and against Swarm."""
    if not shutil.which("iperf3"):
        run("apt-get", "install", "-qy", "--no-install-recommends", "iperf3")
    measures: list[tuple[str, str, Callable[[Route], float], tuple[Goal, Goal]]] = [
        ("TCP, one stream", "Gbit/s", _tcp, (_BY_HAND, _SWARM)),
        ("UDP, full size, that arrived", "Gbit/s", _udp, (_BY_HAND, _SWARM)),
        ("packets of 64 bytes that arrived", "1,000/s", _packets, (_BY_HAND, _SWARM)),
        ("round trip", "µs", _round_trip, (_LONGEST, _AS_LONG)),
        ("round trip after a pause of 1 ms", "µs", _after_a_pause, (_LONGEST, _AS_LONG)),
    ]
    rows = []
    with ways() as all_ways, ExitStack() as stack:
        for way in all_ways.values():
            _serve(way, stack)
        for label, unit, of, (by_hand, swarm) in measures:
            times = _SHORT_ROUNDS if unit == "µs" else 1
            taken = in_turn(rounds * times, {name: partial(of, way) for name, way in all_ways.items()})
            ours = {"netvps": taken["netvps"]}
            rows.append(Row(label, unit, taken, by_hand))
            rows.append(Row(f"{label}, beside Swarm", unit, ours | {"Docker Swarm": taken["Docker Swarm"]}, swarm))
    return rows


def _serve(way: Route, stack: ExitStack) -> None:
    server = subprocess.Popen([*way.server, "iperf3", "-s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(server.wait, 10)
    stack.callback(server.terminate)
    deadline = time.monotonic() + 20
    while ":5201" not in run(*way.server, "ss", "-Hltn"):
        if time.monotonic() > deadline:
            raise RuntimeError("iperf3 does not listen")
        time.sleep(0.05)


def _iperf(way: Route, *arguments: str) -> dict[str, Any]:
    said = json.loads(run(*way.client, "iperf3", "-J", "-c", way.address, "-t", str(_SECONDS), *arguments))
    end: dict[str, Any] = said["end"]
    return end


def _tcp(way: Route) -> float:
    return float(_iperf(way)["sum_received"]["bits_per_second"]) / 1e9


def _datagrams(way: Route, size: str) -> float:
    """Measures datagrams received per second."""
    end = _iperf(way, "-u", "-b", "0", "-l", size)["sum"]
    return float((end["packets"] - end["lost_packets"]) / end["seconds"])


def _udp(way: Route) -> float:
    return _datagrams(way, _FULL) * int(_FULL) * 8 / 1e9


def _packets(way: Route) -> float:
    return _datagrams(way, _SMALL) / 1e3


def _round_trip(way: Route) -> float:
    return float(run(*way.client, sys.executable, "-m", "bench.pingpong", way.address, str(_PINGS)))


def _after_a_pause(way: Route) -> float:
    said = run(*way.client, "/bin/busybox", "ping", "-i", "0.001", "-c", str(_PINGS), way.address)
    return middle([float(text) * 1000 for text in re.findall(r"time=([0-9.]+) ms", said)])
