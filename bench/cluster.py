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
from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.adapters.ca.opening import open_ca
from netvps.adapters.store import open_store
from netvps.domain.access.identity import RunnerIdentity
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.runner import Runner, Underlay
from netvps.process import clock
from netvps.services.runners.leases import lease

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
    key, now = new_key(), clock.now()
    request, machines = signing_request(key), []
    async with open_store(place.database, clock.now) as store:
        cluster_id = await store.cluster_id()
        ca = open_ca(state / "ca", cluster_id, clock.now)
        async with store.write("bench") as tx:
            for number in range(members + spare):
                way = underlay(number) if number < members else None
                runner = await tx.put(Runner(clock.new_uid(), f"lab{number}", now, now, underlay=way))
                await lease(tx, runner.uid, OverlaySettings(cluster_id), 22)
                certificate, _ = ca.sign_client(request, RunnerIdentity(runner.uid).uri, now)
                machines.append({"uid": runner.uid, "number": number, "certificate": certificate})
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
