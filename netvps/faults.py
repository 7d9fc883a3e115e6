"""Named points in operations of several steps, at which a test can have the process die, fail or hang.

In production they are inert: nothing is looked up, read or waited for (a call of 50 ns, measured by its test). Only a
process with NETVPS_ENV=test and NETVPS_FAULTS=FOLDER looks, whenever it passes a point, for FOLDER/POINT, whose
content is the mode; so a system that runs is armed and disarmed from outside. Each file works once, in one process:
it is renamed to POINT.hit by whoever passes first, with its pid in it.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

KILL, RAISE, HANG = "kill", "raise", "hang"
MODES: Final = (KILL, RAISE, HANG)
HANG_SECONDS: Final = 1.0
HIT: Final = ".hit"

COMMITS: Final = {
    "agent.certificate": "a session's agent gets its certificate",
    "access.user": "a user is added",
    "join.runner": "a machine becomes a runner, with a subnet of its own",
    "join.token": "a join token is made",
    "key.create": "an SSH key is registered",
    "key.delete": "an SSH key is revoked",
    "runner.boot_token": "a boot token is made for a session's agent",
    "runner.offline": "a runner is taken for offline, and its sessions for unreachable",
    "runner.online": "a runner is taken for online, and gets the sessions that wait",
    "runner.removed": "a session's row is removed, since its runner says that nothing is left of it",
    "runner.report": "what a runner sees of a session is recorded",
    "runner.snapshot": "a snapshot is recorded",
    "session.create": "a session is made",
    "session.want": "what is wanted of a session changes: stop, start, delete",
}
"""Transactions of the control plane; each has the points NAME.before_commit and NAME.after_commit."""

STEPS: Final = {
    "commit": "a snapshot is taken",
    "copy": "the files of a stopped session are copied",
    "create": "a container is made",
    "erase": "all of a session is removed",
    "fetch": "an image is pulled",
    "flatten": "the snapshot of a session that is stopped is written as one layer",
    "move": "a container is put on another network or address",
    "prune": "older snapshots are removed",
    "record": "a snapshot is reported, to be recorded",
    "refuse": "a session is given up",
    "remove": "a container that cannot be started any more is removed",
    "restore": "a container is made again from the copy of its files",
    "rest": "a session is as wanted",
    "start": "a container is started",
    "terminate": "a container's processes are told to end",
    "unpause": "a pause that nobody owns is lifted",
    "wait": "Docker is busy with a container",
}
"""Steps of the runner; each has the points step.NAME.before and step.NAME.after."""

PLACES: Final = {
    "assignment.kept": "the runner has an assignment on disk, and has not acted on it",
    "boot.before_write": "the runner has a certificate for the agent, the agent has not",
    "boot.after_write": "the agent has its certificate",
    "commit.made": "Docker made the snapshot's image; it is not verified",
    "commit.verified": "the image is verified, and has no name",
    "copy.written": "the files of a stopped session are in an archive, which nothing names yet",
    "erase.containers": "the containers of a session are removed, its images are not",
    "erase.images": "the images are removed, its volumes are not",
    "flatten.imported": "all files of a container are an image, which is no snapshot yet",
    "identity.before_save": "the runner has joined, and not kept that",
    "identity.after_save": "the runner has kept who it is",
    "identity.key_kept": "the runner has a key, and has not joined",
    "join.signed": "a machine is a runner, and has not been answered",
    "network.made": "the network is there, the container is not",
    "restore.made": "a container is made for files that are to be restored; it has another name",
    "restore.unpacked": "it has its files, and not its name",
}
"""All other points of the control plane and the runner."""

AGENT: Final = {
    "agent.before_start": "a container runs, and in it only process 1",
    "agent.before_listen": "the agent has its boot file, and hears no SSH",
    "agent.before_connect": "the agent has its certificate, and no tunnel",
    "agent.config_applied": "the agent goes by new keys, and has not kept them",
}
"""Points of the agent, which are there only if it was built for tests (tunnel/faults)."""

POINTS: Final = {
    **{f"{name}.{when}_commit": what for name, what in COMMITS.items() for when in ("before", "after")},
    **{f"step.{name}.{when}": what for name, what in STEPS.items() for when in ("before", "after")},
    **PLACES,
    **AGENT,
}
"""Every point there is, and what is going on there."""


class InjectedFault(Exception):
    """What RAISE raises: like any bug, it is nobody's to handle by name."""


def _folder() -> Path | None:
    named = os.environ.get("NETVPS_FAULTS", "")
    return Path(named) if named and os.environ.get("NETVPS_ENV") == "test" else None


_FOLDER: Final = _folder()
ENABLED: Final = _FOLDER is not None
"""Whether this process is one of a test that injects faults."""


def fault_point(name: str) -> None:
    """Passes a point of POINTS. In a test that armed it: dies here by SIGKILL, raises InjectedFault, or hangs a while.

    To hang blocks the thread, and with it, in asynchronous code, the whole process, as a stopped process would be.
    """
    if _FOLDER is not None:
        _strike(_FOLDER, name)


def _strike(folder: Path, name: str) -> None:
    hit = folder / f"{name}{HIT}"
    try:
        (folder / name).rename(hit)  # one process takes it, whoever else passes now
    except FileNotFoundError:
        return
    mode = hit.read_text(encoding="ascii")
    hit.write_text(str(os.getpid()), encoding="ascii")
    match mode:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise InjectedFault(name)
        case "hang":
            time.sleep(HANG_SECONDS)
