"""`netvps uninstall`: lists or removes what netvps made on this machine.

Files of people go only when that is asked for: sessions with --sessions, the server's data with --state. Everything
that could still use what is removed ends first.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from socket import if_nameindex
from typing import TYPE_CHECKING, Any, Final

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.errors import DockerError, EngineUnusable
from netvps.adapters.docker.inventory import Inventory
from netvps.adapters.docker.network.overlay_network import OverlayNetwork
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.adapters.netlink.privilege import unprivileged
from netvps.cli.install.services import unit_files
from netvps.cli.machine import down, programs, service
from netvps.cli.machine.program_command import parse
from netvps.domain.overlay.kernel.links import OBJECT_NAMES
from netvps.errors import ConfigError, WrongState
from netvps.process.process import guarded, run_to_end
from netvps.programs.purge import purge
from netvps.programs.wiring.identity import FOLDER, VOLUMES
from netvps.programs.wiring.remembered import load_remembered
from netvps.settings import RunnerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from netvps.adapters.docker.leftovers import Leftover

_NAME: Final = "uninstall"
_MARKS: Final = ("netvps.db", "ca", FOLDER, "up.lock", "server.lock", "api.sock", ".gateway", "agents", "sessions")
"""What a folder of netvps has, at least one of it."""
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be removed."""

    sessions: bool
    state: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What netvps made on this machine."""

    units: Sequence[Path]
    running: bool
    """Whether a `netvps up` runs."""
    sessions: Sequence[Leftover]
    networks: Sequence[str]
    interfaces: Sequence[str]
    environments: Sequence[str]
    folders: Sequence[Path]

    def lines(self, scope: Scope) -> list[str]:
        """What is removed, as KIND and NAME with a tab between them, in that order."""
        rows = [("unit", str(unit)) for unit in self.units]
        rows += [("program", "netvps up")] if self.running else []
        rows += [(thing.kind, thing.name) for thing in self.sessions] if scope.sessions else []
        rows += [("network", name) for name in self.networks]
        rows += [("interface", name) for name in self.interfaces]
        rows += [("image", name) for name in self.environments]
        rows += [("folder", str(folder)) for folder in self.folders] if scope.state else []
        return [f"{kind}\t{name}" for kind, name in rows]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = parse(programs.uninstall, sys.argv[1:] if argv is None else argv)
    return guarded(_NAME, lambda: _main(given))


def _main(given: Mapping[str, Any]) -> int:
    flags = {name: given[name] for name in ("state_dir", "runtime_dir", "docker_host")}
    settings = load_remembered(RunnerSettings, flags, given["config"])
    scope = Scope(given["sessions"], given["state"])
    run_to_end(_uninstall(settings, scope, dry_run=given["dry_run"]))
    return 0


async def _uninstall(settings: RunnerSettings, scope: Scope, *, dry_run: bool) -> None:
    docker = Docker(settings.docker_host)
    try:
        inventory = await _reachable(docker)
        found = await _find(inventory, settings)
        if not dry_run:
            _refuse_sessions(found.sessions, scope)
            await asyncio.to_thread(_refuse_foreign, found.folders, scope)
        for line in found.lines(scope):
            print(f"{'would remove' if dry_run else 'remove'}\t{line}")  # noqa: T201 — stdout is data
        if not dry_run:
            await _remove(found, scope, docker, inventory, settings.paths.state)
    finally:
        docker.close()
    _say_what_stays(found, scope)


async def _reachable(docker: Docker) -> Inventory | None:
    """None where Docker is not installed, as on a machine with a server only. Raises if it does not answer."""
    try:
        await docker.info()
    except EngineUnusable as error:
        if await asyncio.to_thread(Path(docker.base_url.removeprefix("unix://")).exists):
            raise  # this account may not use it
        _note(f"nothing of Docker is listed: {error.message}")
        return None
    return Inventory(docker)


async def _find(inventory: Inventory | None, settings: RunnerSettings) -> Found:
    there = {name for _, name in if_nameindex()}
    folders = (settings.paths.state, settings.paths.runtime)
    return Found(
        units=[unit for unit in unit_files() if unit.exists()],
        running=await asyncio.to_thread(down.held, settings.paths.state / "up.lock"),
        sessions=await inventory.of_sessions() if inventory else [],
        networks=await inventory.networks() if inventory else [],
        interfaces=sorted(there & {OBJECT_NAMES.device, OBJECT_NAMES.bridge}),
        environments=await inventory.environments() if inventory else [],
        folders=[folder for folder in folders if folder.is_dir()],
    )


def _refuse_sessions(found: Sequence[Leftover], scope: Scope) -> None:
    names = [thing.name for thing in found]
    if names and not scope.sessions:
        more = ", ..." if len(names) > _SHOWN else ""
        raise WrongState(
            f"there are files of sessions on this machine ({', '.join(names[:_SHOWN])}{more}): remove the sessions"
            " (`netvps rm NAME`), or remove all their files with --sessions"
        )


async def _remove(found: Found, scope: Scope, docker: Docker, inventory: Inventory | None, state: Path) -> None:
    for unit in found.units:
        await asyncio.to_thread(service.remove, unit)
    await asyncio.to_thread(down.end, state)
    if await asyncio.to_thread(down.held, state / "server.lock"):
        raise WrongState(f"a `netvps server` runs on {state}: end it, then again")
    if inventory:
        await _remove_sessions(docker, inventory, found.sessions, state)
        await inventory.release_networks()
    await _remove_overlay(docker, found)
    if inventory:
        for reference in found.environments:
            await _or_say(lambda name=reference: inventory.remove_environment(name))  # type: ignore[misc]
    if scope.state:
        for folder in found.folders:
            await asyncio.to_thread(_remove_folder, folder)


async def _remove_sessions(docker: Docker, inventory: Inventory, sessions: Sequence[Leftover], state: Path) -> None:
    """Also what a failed attempt left: every runner's objects are asked for again."""
    own = state / FOLDER
    for node in await inventory.nodes() if sessions else ():
        engine = DockerEngine(docker, node=node, node_name="", copies=own / "copies", volumes=own / VOLUMES)
        for uid in sorted(await _uids(engine)):
            await engine.erase(uid)


async def _uids(engine: DockerEngine) -> Collection[str]:
    return {thing.session_uid for thing in await engine.things()}


async def _remove_overlay(docker: Docker, found: Found) -> None:
    if not (why := unprivileged()):
        async with NetlinkKernel() as kernel:
            await purge(kernel, OverlayNetwork(docker), OBJECT_NAMES, force=False)
    elif found.interfaces:
        _note(f"the overlay stays: {why}; then `netvps network purge`")


async def _or_say(step: Callable[[], Any]) -> None:
    try:
        await step()
    except DockerError as error:
        _note(error.message)


def _refuse_foreign(folders: Sequence[Path], scope: Scope) -> None:
    """Nothing is removed by a wrong path."""
    for folder in folders if scope.state else ():
        if any(folder.iterdir()) and not any((folder / mark).exists() for mark in _MARKS):
            raise ConfigError(
                f"{folder} is not a folder of netvps (it has none of {', '.join(_MARKS)}): check its path"
            )


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be removed: {error.strerror}; remove it by hand") from None


def _say_what_stays(found: Found, scope: Scope) -> None:
    if found.sessions and not scope.sessions:
        _note(f"{len(found.sessions)} containers, volumes and snapshots of sessions stay; --sessions removes them")
    if found.folders and not scope.state:
        _note(f"data stays in {found.folders[0]}; --state removes it")
    _note("the program and packages of the system stay: see docs/install.md")


def _note(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 — for the person


if __name__ == "__main__":
    sys.exit(main())
