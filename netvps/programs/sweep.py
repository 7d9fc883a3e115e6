"""`netvps runner sweep`: lists, or removes, what a runner left behind on this machine of sessions that are gone.

A running runner does so by itself, a minute after it is connected. This is for looking at what it will do, and for a
machine whose runner does not run. What it removes is gone for ever, so it goes by the server's word alone: a session
that the server knows, in whatever state and on whatever runner, keeps all it has. That holds beside a running runner,
too, for what is there is listed first, and the server is asked after: a session that is made meanwhile is not listed.
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
from netvps.adapters.docker.leftovers import Thing
from netvps.cli import programs
from netvps.cli.connect import dial
from netvps.cli.contexts import resolve
from netvps.cli.program_command import parse
from netvps.domain.access import Role
from netvps.domain.uid import UID_PATTERN
from netvps.errors import ConfigError, NotPermitted
from netvps.programs.identity import FOLDER, VOLUMES, Identity, load_identity
from netvps.programs.process import guarded, run_to_end
from netvps.programs.remembered import load_remembered
from netvps.runner.memory import read_assignments
from netvps.settings import RunnerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from netvps.cli.contexts import Context

_NAME: Final = "runner sweep"
_UID: Final = re.compile(UID_PATTERN)


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a runner keeps things of sessions: RUN/UID, and in STATE logs/UID.log, {last_runs,copies}/UID.json."""

    run: Path
    logs: Path
    last_runs: Path
    copies: Path

    def things(self) -> list[Thing]:
        """All folders and logs that have a session's name."""
        found = [Thing(path.name, "folder", str(path)) for path in _listed(self.run)]
        found += [Thing(path.stem, "log", str(path)) for path in _listed(self.logs) if path.suffix == ".log"]
        found += [Thing(path.stem, "copy", str(path)) for path in _listed(self.copies) if path.suffix == ".json"]
        return sorted(thing for thing in found if _UID.fullmatch(thing.session_uid))

    def remove(self, session_uid: str) -> None:
        """Removes those of a session. What is gone already is no error."""
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
        raise ConfigError(f"no runner has joined with the state folder {state}: name another with --state-dir")
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
        there = [*await engine.things(), *await asyncio.to_thread(folders.things)]
        left = nobodys(there, await asyncio.to_thread(known))  # asked after: see the top
        for uid in sorted({thing.session_uid for thing in left}) if not dry_run else ():
            await engine.erase(uid)
            await asyncio.to_thread(folders.remove, uid)
    finally:
        docker.close()
    for thing in left:
        print(f"{'would remove' if dry_run else 'removed'}\t{thing.kind}\t{thing.name}")  # noqa: T201 — stdout is data
    said = "no assignment of this runner knows it" if dry_run else "the server does not know its sessions"
    print(f"{len(left)} of {len(there)} things of runner {identity.name} are left over: {said}", file=sys.stderr)  # noqa: T201


def nobodys(there: Sequence[Thing], known: Collection[str]) -> list[Thing]:
    """What belongs to no session that is known."""
    return [thing for thing in there if thing.session_uid not in known]


def known_to_server(identity: Identity, context: Context) -> set[str]:
    """Uids of all sessions of the server that this runner belongs to, asked for in a context.

    Raises ConfigError if the context is another server's, NotPermitted unless it is an admin's, who sees all sessions.
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
