"""Fault injection: named points in multi-step operations where a test can make the process die, fail or hang.

In production they do nothing: no lookup, read or wait (a call takes 50 ns, measured by its test). Only a process with
NETVPS_ENV=test and NETVPS_FAULTS=FOLDER checks at each point for FOLDER/POINT, whose content is the mode; so a running
system is armed and disarmed from outside. Each file fires once, in one process: the first one to pass renames it to
POINT.hit and writes its pid into it.
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
    "agent.certificate": "a certificate is issued to a session's agent",
    "access.user": "a user is added",
    "image.default": "the default environment is chosen",
    "join.runner": "a machine joins as a runner and gets a subnet",
    "join.token": "a join token is made",
    "key.create": "an SSH key is registered",
    "key.delete": "an SSH key is revoked",
    "registry.login": "a login to a registry is stored",
    "registry.logout": "a login to a registry is removed",
    "runner.boot_token": "a boot token is made for a session's agent",
    "moves.advance": "a move of a session goes a step further",
    "runner.copy": "the receipt of a copy is recorded, or its removal",
    "runner.offline": "a runner is marked offline, and its sessions unreachable",
    "runner.online": "a runner is marked online, and waiting sessions are placed",
    "runner.removed": "a session's row is removed, since its runner reports it erased",
    "runner.report": "a runner's report about a session is recorded",
    "runner.snapshot": "a snapshot is recorded",
    "runner.task": "a runner's report about a task is recorded",
    "session.clone": "a session is created from a snapshot",
    "session.create": "a session is created",
    "session.desired": "a session's desired state, name or spec changes",
    "share.expire": "shares whose end has come are removed",
    "share.put": "a session is shared, or its share is changed",
    "share.remove": "a share is removed",
    "snapshot.create": "a snapshot is ordered",
    "snapshot.delete": "the deletion of a snapshot is ordered",
    "snapshot.restore": "a restore in place is ordered",
    "snapshot.update": "a snapshot is described, labelled or pinned",
    "task.create": "a task or an array is created",
    "task.place": "tasks that wait are placed on runners",
}
"""Transactions of the control plane; each has the points NAME.before_commit and NAME.after_commit."""

STEPS: Final = {
    "adopt": "a snapshot becomes the copy of a session that lost container and copy",
    "clone": "a container is made from the snapshot of another session",
    "commit": "a snapshot's image is taken",
    "copy": "the files of a stopped session are copied",
    "create": "a container is made",
    "drop": "a snapshot is removed",
    "ended": "a container ended by itself, and is reported to stay stopped",
    "erase": "everything of a session is removed",
    "fetch": "an image is pulled",
    "flatten": "the snapshot of a stopped session is rewritten as one layer",
    "move": "a container is attached to another network or address",
    "pause": "a container is frozen",
    "prune": "older snapshots are removed",
    "record": "a snapshot is reported for recording",
    "refuse": "a session is reported as failed",
    "remove": "a container that cannot be started any more is removed",
    "restore": "a container is restored from the copy of its files",
    "resize": "a container gets other limits",
    "rest": "a session is in its desired state",
    "revert": "a container is made again with the files of a snapshot",
    "start": "a container is started",
    "take": "a snapshot is taken on request",
    "terminate": "a container is stopped",
    "unpause": "a frozen container goes on",
    "wait": "Docker is busy with a container",
}
"""Actions of the runner; each has the points step.NAME.before and step.NAME.after."""

PLACES: Final = {
    "assignment.kept": "the runner has stored an assignment, and not acted on it yet",
    "boot.before_write": "the runner has a certificate for the agent, and not passed it on yet",
    "boot.after_write": "the agent has its certificate",
    "commit.made": "Docker made the snapshot's image; it is not verified yet",
    "commit.verified": "the image is verified, and not tagged yet",
    "copy.written": "the archive of a stopped session's files is written, and not renamed yet",
    "drop.unlisted": "a snapshot is not listed any more, and its files are not removed yet",
    "erase.containers": "the containers of a session are removed, its images are not yet",
    "erase.images": "the images are removed, its volumes are not yet",
    "flatten.imported": "all files of a container are imported as an image, which is no snapshot yet",
    "gateway.authenticated": "a client proved its key, and its session is not dialled yet",
    "gateway.reached": "the agent has let the gateway in, and no message has passed yet",
    "gateway.woken": "a login has a session started or resumed, and does not wait for it yet",
    "identity.before_save": "the runner has joined, and not stored its identity yet",
    "identity.after_save": "the runner has stored its identity",
    "identity.key_kept": "the runner has stored its key, and not joined yet",
    "join.signed": "a join is committed, and not answered yet",
    "network.made": "the network is made, the container is not yet",
    "receive.held": "a copy of another runner's snapshot is complete, and its receipt is not reported yet",
    "receive.placed": "the parts of a snapshot have arrived, and its note is not written yet",
    "receive.written": "a part of a snapshot is on disk, and not verified yet",
    "restore.made": "a container for restored files is made under a temporary name",
    "restore.unpacked": "it has its files, and not its final name yet",
    "revert.made": "a container for the files of a snapshot is made under a temporary name",
    "revert.unpacked": "it has its files, and not its final name yet, and an older container exists",
    "take.paused": "a container is paused for a snapshot, if it runs",
    "take.written": "the archive of a snapshot is written, and its note is not yet",
    "task.ended": "the end of a command is recorded on disk, and not reported yet",
    "task.recorded": "the start of a command is recorded on disk, and it is not started yet",
    "task.started": "a command is started, and that is not reported yet",
}
"""All other points of the control plane, the gateway and the runner."""

AGENT: Final = {
    "agent.before_start": "a container runs, with PID 1 only",
    "agent.before_listen": "the agent has its boot file, and does not listen for SSH yet",
    "agent.before_connect": "the agent has its certificate, and no tunnel yet",
    "agent.config_applied": "the agent has applied new keys, and not stored them yet",
    "agent.terminal_kept": "the shell of a kept terminal runs, and is shown to no client yet",
}
"""Points of the agent, compiled in only for tests (tunnel/faults)."""

POINTS: Final = {
    **{f"{name}.{when}_commit": what for name, what in COMMITS.items() for when in ("before", "after")},
    **{f"step.{name}.{when}": what for name, what in STEPS.items() for when in ("before", "after")},
    **PLACES,
    **AGENT,
}
"""Every point, with a description of the moment."""


class InjectedFault(Exception):
    """Raised by RAISE. No code catches it by name, so it behaves like a bug."""


def _folder() -> Path | None:
    named = os.environ.get("NETVPS_FAULTS", "")
    return Path(named) if named and os.environ.get("NETVPS_ENV") == "test" else None


_FOLDER: Final = _folder()
ENABLED: Final = _FOLDER is not None
"""Whether this process runs in a test that injects faults."""


def fault_point(name: str) -> None:
    """Marks a point of POINTS. If a test armed it: kills the process (SIGKILL), raises InjectedFault, or hangs a while.

    A hang blocks the thread, and so, in asynchronous code, the whole process, as SIGSTOP would.
    """
    if _FOLDER is not None:
        _strike(_FOLDER, name)


def _strike(folder: Path, name: str) -> None:
    hit = folder / f"{name}{HIT}"
    try:
        (folder / name).rename(hit)  # atomic: of concurrent processes only one succeeds
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
