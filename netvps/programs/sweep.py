"""`netvps runner sweep`: lists or removes the objects of a runner on this machine whose sessions are gone.

A running runner does so by itself, a minute after it connects. This command shows what it will remove, and cleans up a
machine whose runner does not run. Removal is final, so the server alone decides: a session that the server knows, in
any state and on any runner, keeps everything. This also holds beside a running runner: objects are listed before the
server is asked, so the objects of a session that is created in between are not in the list.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.leftovers import TASK, Leftover
from netvps.cli.machine import programs
from netvps.cli.machine.program_command import parse
from netvps.cli.server.connect import dial
from netvps.cli.server.contexts import resolve
from netvps.domain.access.accounts import Role
from netvps.domain.uid import UID_PATTERN
from netvps.errors import ConfigError, NotPermitted
from netvps.process.process import guarded, run_to_end
from netvps.programs.wiring.identity import FOLDER, VOLUMES, Identity, load_identity
from netvps.programs.wiring.remembered import load_remembered
from netvps.runner.assignment_store import read_assignments
from netvps.settings import RunnerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from netvps.cli.server.contexts import Context

_NAME: Final = "runner sweep"
_UID: Final = re.compile(UID_PATTERN)


@dataclass(frozen=True, slots=True)
class Folders:
    """A runner's folders for sessions: RUN/UID, and in STATE logs/UID.log, {last_runs,copies}/UID.json and so on."""

    run: Path
    logs: Path
    last_runs: Path
    copies: Path

    def things(self) -> list[Leftover]:
        """All folders and logs named after a session."""
        found = [Leftover(path.name, "folder", str(path)) for path in _listed(self.run)]
        found += [Leftover(path.stem, "log", str(path)) for path in _listed(self.logs) if path.suffix == ".log"]
        found += [Leftover(path.stem, "copy", str(path)) for path in _listed(self.copies) if path.suffix == ".json"]
        taken = (path for path in _listed(self.copies / "snapshots") if path.suffix == ".json")
        found += [Leftover(path.stem.partition("-")[0], "snapshot", str(path)) for path in taken]
        return sorted(thing for thing in found if _UID.fullmatch(thing.session_uid))

    def remove(self, session_uid: str) -> None:
        """Removes the files of a session; files that are missing are ignored."""
        shutil.rmtree(self.run / session_uid, ignore_errors=True)
        (self.run / f"{session_uid}.resolv.conf").unlink(missing_ok=True)
        (self.logs / f"{session_uid}.log").unlink(missing_ok=True)
        (self.last_runs / f"{session_uid}.json").unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = parse(programs.sweep, sys.argv[1:] if argv is None else argv)
    return guarded(_NAME, lambda: _main(given))


def _main(given: Mapping[str, Any]) -> int:
    flags = {name: given[name] for name in ("state_dir", "runtime_dir", "docker_host")}
    settings = load_remembered(RunnerSettings, flags, given["config"])
    state = settings.paths.state
    identity = load_identity(state)
    if identity is None:
        raise ConfigError(f"no runner has joined with the state folder {state}: give another one with --state-dir")
    own = state / FOLDER
    folders = Folders(settings.paths.runtime / "sessions", own / "logs", own / "last_runs", own / "copies")
    kept = own / "assignments.json"

    def known() -> set[str]:
        assigned = set(read_assignments(kept))
        return assigned if given["dry_run"] else assigned | known_to_server(identity, resolve(given["context"]))

    run_to_end(_sweep(settings, identity, folders, known, dry_run=given["dry_run"]))
    return 0


async def _sweep(
    settings: RunnerSettings, identity: Identity, folders: Folders, known: Callable[[], set[str]], *, dry_run: bool
) -> None:
    docker = await Docker.open(settings.docker_host)
    try:
        volumes = settings.paths.state / FOLDER / VOLUMES
        engine = DockerEngine(
            docker, node=identity.uid, node_name=identity.name, copies=folders.copies, volumes=volumes
        )
        made = [thing for thing in await engine.things() if thing.kind != TASK]  # runners remove those by themselves
        there = [*made, *await asyncio.to_thread(folders.things)]
        left = orphaned(there, await asyncio.to_thread(known))  # the order matters: see the module's docstring
        for uid in sorted({thing.session_uid for thing in left}) if not dry_run else ():
            await engine.erase(uid)
            await asyncio.to_thread(folders.remove, uid)
    finally:
        docker.close()
    for thing in left:
        print(f"{'would remove' if dry_run else 'removed'}\t{thing.kind}\t{thing.name}")  # noqa: T201 — stdout is data
    said = "no assignment of this runner knows it" if dry_run else "the server does not know its sessions"
    print(f"{len(left)} of {len(there)} objects of runner {identity.name} are left over: {said}", file=sys.stderr)  # noqa: T201


def orphaned(there: Sequence[Leftover], known: Collection[str]) -> list[Leftover]:
    """The objects of sessions that are not known."""
    return [thing for thing in there if thing.session_uid not in known]


def known_to_server(identity: Identity, context: Context) -> set[str]:
    """Uids of all sessions of this runner's server, requested in a context.

    Raises ConfigError if the context is for another server, NotPermitted unless its user is an admin and sees all
    sessions.
    """
    with dial(context) as client:
        if client.server_info().ca_certificate.strip() != identity.ca_certificate.strip():
            raise ConfigError(
                f"context {context.name} is not the server of this machine's runner: choose one with --context"
            )
        if (caller := client.get_user("me")).role is not Role.ADMIN:
            raise NotPermitted(
                f"{caller.name} does not see all sessions of the server, and takes what it does not see for leftovers:"
                " log in with an admin's key (`netvps login HOST`), or look with --dry-run"
            )
        return {session.uid for session in client.list_sessions("-")}


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    sys.exit(main())
