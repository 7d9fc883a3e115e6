"""A control plane with a thousand runners that have already joined: rows and certificates, created before it starts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.place import Place
from netvps.adapters.ca.opening import open_ca
from netvps.adapters.store import open_store
from netvps.domain.runner.runner import Underlay
from netvps.process import clock
from netvps.programs.sim.enrolment import enrol

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES = 8192  # more than a server of a thousand runners has open


def underlay(number: int) -> Underlay:
    """Returns that runner's underlay, in a network that this machine is not in."""
    return Underlay((f"198.18.{number >> 8}.{number & 255}",), 1450)


async def prepare(place: Place, members: int, spare: int) -> list[str]:
    """Creates runners: `members` are on the overlay, `spare` joined and never connected. Writes PLACE/runners.json.

    Returns the uids of the spare ones. They share one key, as creating a thousand is slow, and have a certificate each.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, limit), limit))
    state = place.folder / "s"
    state.mkdir(mode=0o700)
    async with open_store(place.database, clock.now) as store:
        ca = open_ca(state / "ca", await store.cluster_id(), clock.now)
        key, enrolled = await enrol(
            store, ca, members + spare, lambda number: underlay(number) if number < members else None
        )
    machines = [{"uid": one.uid, "number": one.number, "certificate": one.certificate} for one in enrolled]
    address = f"127.0.0.1:{place.ports['link']}"
    setup = {"address": address, "ca": ca.certificate, "key": key, "machines": machines}
    await asyncio.to_thread((place.folder / "runners.json").write_text, json.dumps(setup))
    return [str(machine["uid"]) for machine in machines[members:]]


@contextlib.contextmanager
def simulated(place: Place, first: int, last: int) -> Iterator[subprocess.Popen[str]]:
    """Runs simulated runners `first` to `last` in a process; returns once all have the netmap."""
    command = [sys.executable, "-m", "bench.runners", str(place.folder / "runners.json"), str(first), str(last)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = heard(process)
            if said != "ready":
                raise RuntimeError(f"the simulated runners do not start: {said}")
            yield process
        finally:
            process.terminate()


def heard(process: subprocess.Popen[str]) -> Any:
    """Returns the next line of a process."""
    line = process.stdout.readline() if process.stdout else ""
    return json.loads(line) if line else None


def known(file: Path) -> dict[str, Any]:
    """Returns what `prepare` wrote."""
    setup: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return setup
