"""Stores the last known assignments on disk, for a runner that starts while the control plane is unavailable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from netvps.domain.session.session import Assignment, DesiredState, SnapshotImage
from netvps.domain.session.spec import Network, Placement, RestartPolicy, SessionSpec
from netvps.domain.sleep.policy import SleepPolicy, WakePolicy
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.domain.snapshot.snapshot import Restore, RestoreState, SnapshotOrder, SnapshotSource
from netvps.errors import ConfigError, InvalidInput
from netvps.files import remove_parts, write_file

_VERSION = 1
log = structlog.get_logger()


class AssignmentStore:
    """Assignments by session; each change is on disk before it is acted on. Mode 0600: env may contain secrets.

    A runner that acted on an assignment and lost it could, restarted while the control plane is unavailable, undo it by
    an older one: recreate a deleted session, empty. So callers pass what to do `then`, which is called once the change
    is on disk. Changes that arrive during a write share the next one, in a thread: a thousand at a reconnect take a few
    writes.

    If the disk is full they are acted on all the same and stored with the next change; a runner that dies before
    that receives them again from the control plane. `run` is a task of the runner.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        remove_parts(path.parent)
        self._known = _load(path)
        self._encoded = {uid: _encoded(assignment) for uid, assignment in self._known.items()}
        self._changed = asyncio.Event()
        self._then: list[Callable[[], None]] = []
        self._changes = self._on_disk = 0
        """Number of changes received, and of those in the file."""

    @property
    def assignments(self) -> dict[str, Assignment]:
        """A copy of all current assignments, by session uid."""
        return dict(self._known)

    @property
    def sessions(self) -> frozenset[str]:
        """Uids of all sessions."""
        return frozenset(self._known)

    def get(self, session_uid: str) -> Assignment | None:
        """Returns a session's current assignment."""
        return self._known.get(session_uid)

    def save(self, assignment: Assignment, then: Callable[[], None] = lambda: None) -> None:
        """Adds or replaces an assignment; calls `then` once everything received until now is on disk.

        An equal assignment is not written again; one that differs only in its revision counts as equal.
        """
        if not same_content(self._known.get(assignment.session_uid), assignment):
            self._known[assignment.session_uid] = assignment
            self._encoded[assignment.session_uid] = _encoded(assignment)
            self._changes += 1
        if self._on_disk == self._changes:
            then()
            return
        self._then.append(then)
        self._changed.set()

    def forget(self, session_uid: str) -> None:
        """Removes an assignment; idempotent."""
        if self._known.pop(session_uid, None) is not None:
            del self._encoded[session_uid]
            self._changes += 1
            self._changed.set()

    async def run(self) -> None:
        """Writes changes until cancelled. What was not written was not acted on, either."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, acts, self._then = self._changes, self._then, []
            if await asyncio.to_thread(self._write, list(self._encoded.values())):
                self._on_disk = changes
            for act in acts:
                act()

    def _write(self, encoded: list[str]) -> bool:
        """Writes the file; returns whether that worked."""
        text = f'{{"version": {_VERSION}, "assignments": [{",".join(encoded)}]}}'
        try:
            write_file(self._path, text.encode())
        except OSError as error:
            log.warning("cannot store assignments; free disk space", file=str(self._path), error=error.strerror)
            return False
        return True


def same_content(one: Assignment | None, other: Assignment) -> bool:
    """Reports whether two assignments request the same; the revision says only as of when."""
    return one is not None and (one == other or replace(one, revision=other.revision) == other)


def _encoded(assignment: Assignment) -> str:
    return json.dumps(asdict(assignment), default=_encode)


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value))


def _load(path: Path) -> dict[str, Assignment]:
    """Reads the file; a missing or damaged one counts as empty: the control plane sends all assignments again."""
    try:
        return read_assignments(path)
    except ConfigError as error:
        log.warning("cannot read the stored assignments; the control plane sends them again", error=error.message)
        return {}


def read_assignments(path: Path) -> dict[str, Assignment]:
    """Reads a runner's file, also while the runner writes it; {} if it does not exist. Raises ConfigError."""
    try:
        known = [_decode(item) for item in json.loads(path.read_bytes())["assignments"]]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, InvalidInput) as error:
        raise ConfigError(
            f"cannot read the runner's assignments in {path}: {error}; start the runner once to rewrite them"
        ) from None
    return {assignment.session_uid: assignment for assignment in known}


def _decode(item: dict[str, Any]) -> Assignment:
    spec, snapshot, restore, source = item["spec"], item["snapshot"], item.get("restore"), item.get("source")
    policy = RestartPolicy(spec.get("restart_policy", RestartPolicy.ALWAYS))
    snapshots = spec.get("snapshot_policy") or {}
    spec = spec | {
        "snapshot_policy": SnapshotPolicy(**snapshots | {"excluded_paths": tuple(snapshots.get("excluded_paths", ()))}),
        "authorized_keys": tuple(spec["authorized_keys"]),
        "command": tuple(spec.get("command", ())),
        "gpu_ids": tuple(spec.get("gpu_ids", ())),
        "network": Network(spec["network"]),
        "restart_policy": policy,
        "sleep": SleepPolicy(**spec.get("sleep") or {}),
        "placement": Placement(spec.get("placement", Placement.DEFAULT)),
        "wake": WakePolicy(spec.get("wake", WakePolicy.DEFAULT)),
    }
    typed = {
        "desired": DesiredState(item["desired"]),
        "gpus": tuple(item.get("gpus", ())),
        "spec": SessionSpec(**spec),
        "snapshot": snapshot and SnapshotImage(**_dated(snapshot)),
        "snapshot_orders": tuple(SnapshotOrder(**order) for order in item.get("snapshot_orders", ())),
        "restore": restore and Restore(**_dated(restore) | {"state": RestoreState(restore["state"])}),
        "source": source and SnapshotSource(**source),
    }
    return Assignment(**item | typed)


def _dated(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"create_time": datetime.fromisoformat(item["create_time"])}
