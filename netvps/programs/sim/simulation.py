"""`netvps sim`: a server with simulated runners and sessions, for programs that schedule them."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps import exit_codes
from netvps.adapters.ca.opening import open_ca
from netvps.adapters.process_usage import children, cpu_seconds, proportional_bytes
from netvps.adapters.store import open_store
from netvps.cli.machine import programs
from netvps.cli.machine.program_command import parse
from netvps.client import AsyncClient, Endpoint, NewSession, SessionEvent, SessionSpec, SessionState
from netvps.config import Paths
from netvps.display.units import size_words
from netvps.errors import TimedOut
from netvps.process import clock
from netvps.process.process import allow_many_files, guarded, run_to_end
from netvps.process.stopping import Stop
from netvps.process.supervisor import Child
from netvps.programs.sim.behaviour import Behaviour, Fault
from netvps.programs.sim.enrolment import enrol
from netvps.programs.sim.runner import SimulatedRunner
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_NAME: Final = "sim"
_PORTS: Final = ("api", "link", "ssh", "http", "apps")
_HANDSHAKES: Final = 16
_BATCH: Final = 100
_IDLE: Final = 10.0
"""Seconds over which the idle server's CPU is measured."""
_STOP: Final = 15.0
_STARTED: Final = {SessionState.RUNNING, SessionState.FAILED}
_CONNECT: Final = 60.0
_CONNECT_EACH: Final = 0.5


@dataclass(frozen=True, slots=True)
class Simulation:
    """A server that runs, and the runners that are connected to it."""

    folders: Paths
    pid: int
    runners: list[SimulatedRunner]

    @property
    def endpoint(self) -> Endpoint:
        """Its API."""
        return Endpoint(f"unix:{self.folders.api_socket}")

    def processes(self) -> list[int]:
        """The server and its children."""
        return [self.pid, *children(self.pid)]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit code."""
    given = parse(programs.sim, sys.argv[1:] if argv is None else argv)
    allow_many_files()
    behaviour = Behaviour(given["seed"], given["speed"], frozenset(map(Fault, given["fault"])))

    def run() -> int:
        run_to_end(_main(given["runners"], given["sessions"], behaviour, once=given["once"]))
        return exit_codes.OK

    return guarded(_NAME, run)


async def _main(runners: int, sessions: int, behaviour: Behaviour, *, once: bool) -> None:
    with Stop() as stop:
        await stop.run(_serve(runners, sessions, behaviour, once=once))


async def _serve(runners: int, sessions: int, behaviour: Behaviour, *, once: bool) -> None:
    began = time.monotonic()
    async with simulated(runners, behaviour) as simulation, AsyncClient(simulation.endpoint, timeout=120) as client:
        _say(f"{runners} runners are connected after {time.monotonic() - began:.1f} s")
        if sessions:
            _say(await fill(client, sessions))
        _say(await idle(simulation))
        if not once:
            socket_file = simulation.folders.api_socket
            _say(f"for commands: NETVPS_SOCKET={socket_file}; for programs: NETVPS_ADDRESS=unix:{socket_file}")
            _say("Ctrl-C ends it and removes all")
            await asyncio.Event().wait()


@asynccontextmanager
async def simulated(count: int, behaviour: Behaviour) -> AsyncIterator[Simulation]:
    """Runs a server in folders of its own, and runners that are connected to it."""
    folder = Path(tempfile.mkdtemp(prefix="netvps-sim-"))
    folders, ports = Paths(folder / "s", folder / "r"), dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    try:
        folders.prepare()
        async with open_store(f"sqlite:///{folders.state}/netvps.db", clock.now) as store:
            ca = open_ca(folders.state / "ca", await store.cluster_id(), clock.now)
            key, machines = await enrol(store, ca, count)
        with (folder / "server.log").open("wb") as log:
            server = Child("server", _arguments(folders, ports), _environment(), _STOP, output=log.fileno())
            await server.start()
        address, turn = f"127.0.0.1:{ports['link']}", asyncio.Semaphore(_HANDSHAKES)
        runners = [SimulatedRunner(machine, address, ca.certificate, key, behaviour) for machine in machines]
        try:
            async with Tasks() as tasks:
                for runner in runners:
                    tasks.start(runner.run(turn), name="simulated runner")
                await _all_connected(runners)
                yield Simulation(folders, server.pid, runners)
        finally:
            await server.stop()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _all_connected(runners: list[SimulatedRunner]) -> None:
    seconds = _CONNECT + _CONNECT_EACH * len(runners)
    try:
        async with asyncio.timeout(seconds):
            for runner in runners:
                await runner.connected.wait()
    except TimeoutError:
        missing = sum(not runner.connected.is_set() for runner in runners)
        raise TimedOut(f"{missing} runners are not connected after {seconds:.0f} s: simulate fewer of them") from None


async def fill(client: AsyncClient, count: int) -> str:
    """Creates sessions sim-1, sim-2, …, and waits until they run; returns figures in words."""
    began, before = time.monotonic(), await _revision(client)
    for first in range(0, count, _BATCH):
        numbers = range(first + 1, min(first + _BATCH, count) + 1)
        await client.create_many([NewSession(f"sim-{number}", SessionSpec(image="simulated")) for number in numbers])
    created = time.monotonic() - began
    started: set[str] = set()
    async with aclosing(client.watch("")) as events:
        async for event in events:
            if isinstance(event, SessionEvent) and event.session and event.session.state in _STARTED:
                started.add(event.session.uid)
            if len(started) == count:
                break
    took, writes = time.monotonic() - began, await _revision(client) - before
    return (
        f"{count} sessions are created after {created:.1f} s and run after {took:.1f} s: "
        f"{count / took:.0f} sessions/s, {writes / took:.0f} writes/s"
    )


async def idle(simulation: Simulation) -> str:
    """Measures the server while only heartbeats come; returns figures in words."""
    pids = simulation.processes()
    before, began = sum(map(cpu_seconds, pids)), time.monotonic()
    await asyncio.sleep(_IDLE)
    cpu = (sum(map(cpu_seconds, pids)) - before) / (time.monotonic() - began)
    memory = size_words(sum(map(proportional_bytes, pids)))
    return f"the server has {memory} of memory, and needs {cpu:.1%} of a core while only heartbeats come"


async def _revision(client: AsyncClient) -> int:
    async for page in client.list_session_pages("", first=1):
        return page.revision
    return 0


def _arguments(folders: Paths, ports: dict[str, int]) -> list[str]:
    listen = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    return ["--state-dir", str(folders.state), "--runtime-dir", str(folders.runtime), "--drain", "1", *listen]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("NETVPS_")}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 — its output
