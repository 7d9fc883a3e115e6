"""`converge`: from the Hello of a runner that joins the overlay to its entry in the netmaps of 1,000 other runners.

The control plane is the real one; the other runners are simulated by two processes on the same machine (bench.runners),
so their work is included. The reference is the minimum: the window in which changes are gathered, and one write.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Any, Final

from bench.cluster import heard, known, prepare, simulated, underlay
from bench.place import Place
from bench.result import Goal, Measure, Row, percentile
from netvps.domain.runner.runner import Capacity, RunnerHello
from netvps.rpc.client.link_client import RunnerLink
from netvps.services.network.netmap import WINDOW

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator

    from netvps.domain.runner.runner import Heartbeat

_RUNNERS: Final = 1000
_PROCESSES: Final = 2
_QUIET: Final = 1.0  # seconds between rounds
_GOAL_MS: Final = 250.0


def measure(rounds: int) -> list[Row]:
    """Measures median and 99th percentile over all runners, per round but the first; each runner joins once."""
    with Place() as place, ExitStack() as stack:
        spare = asyncio.run(prepare(place, _RUNNERS, rounds + 1))
        place.serve()
        setup = known(place.folder / "runners.json")
        each = _RUNNERS // _PROCESSES
        crowds = [stack.enter_context(simulated(place, n * each, (n + 1) * each)) for n in range(_PROCESSES)]
        machines = {machine["uid"]: machine for machine in setup["machines"]}
        ours: list[list[float]] = []
        theirs: list[float] = []
        for turn, uid in enumerate(spare):
            time.sleep(_QUIET)
            took = asyncio.run(_join(setup, machines[uid], crowds))
            time.sleep(_QUIET)
            reference = _window_and_write()
            if turn:
                ours.append(took)
                theirs.append(reference)
            print(f"\r  round {turn} of {rounds}", end="", file=sys.stderr, flush=True)
    print("\r\033[K", end="", file=sys.stderr, flush=True)
    medians, worst = [statistics.median(took) for took in ours], [percentile(took, 99) for took in ours]
    beside = f"of {_RUNNERS:,} runners, join to programmed"
    reference_of = {"window + one write": theirs}
    return [
        Row(f"99th percentile {beside}", "ms", {"netvps": worst} | reference_of, Goal(Measure.MEDIAN, _GOAL_MS)),
        Row(f"median {beside}", "ms", {"netvps": medians} | reference_of),
    ]


async def _join(setup: dict[str, Any], machine: dict[str, Any], crowds: list[subprocess.Popen[str]]) -> list[float]:
    """Measures milliseconds until each runner had the new one."""
    hello = RunnerHello(machine["uid"], "joiner", Capacity(cpus=8), underlay=underlay(machine["number"]))
    async with RunnerLink(setup["address"], setup["ca"], machine["certificate"], setup["key"]) as link:
        began = time.monotonic()
        async with aclosing(link.connect(hello, _silence())) as messages:  # type: ignore[type-var]
            await anext(messages)
            reports = [await asyncio.to_thread(heard, crowd) for crowd in crowds]
    if {uid for uid, _ in reports} != {machine["uid"]}:
        raise RuntimeError(f"the simulated runners heard of {reports} in place of {machine['uid']}")
    return [(at - began) * 1000 for _, times in reports for at in times]


async def _silence() -> AsyncIterator[Heartbeat]:
    await asyncio.Event().wait()
    yield  # type: ignore[misc]  # it never gets here


def _window_and_write() -> float:
    """Measures milliseconds of the window and of a write to a pipe, which costs as much as one to a netlink socket."""
    read, write = os.pipe()
    began = time.monotonic()
    time.sleep(WINDOW)
    os.write(write, bytes(256))
    took = time.monotonic() - began
    os.close(read)
    os.close(write)
    return took * 1000
