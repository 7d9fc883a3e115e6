"""The last known assignments, kept on disk: a runner that starts while the control plane is away goes by them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from netvps.domain.session import Assignment, DesiredState, Network, SessionSpec, Snapshot
from netvps.errors import ConfigError, InvalidInput
from netvps.runner.files import remove_parts, write_file

_VERSION = 1
log = structlog.get_logger()


class Memory:
    """Assignments by session; each change is on disk before it is acted on. 0600: env may be secret.

    A runner that acted on an assignment and forgot it would, started again while the control plane is away, undo that
    by an older one: make a session that was deleted anew, empty. So who changes an assignment says what comes `then`,
    which is called once the change is on disk. All changes that come while one is being written are one write, in a
    thread: a thousand at a reconnect are some writes, not a thousand.

    Where the disk is full they are acted on all the same, and kept with the next change: a runner that dies meanwhile
    hears them again from the control plane. `run` is a task of the runner.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        remove_parts(path.parent)
        self._known = _load(path)
        self._encoded = {uid: _encoded(want) for uid, want in self._known.items()}
        self._changed = asyncio.Event()
        self._then: list[Callable[[], None]] = []
        self._changes = self._on_disk = 0
        """Changes that were told, and how many of them the file has."""

    @property
    def assignments(self) -> dict[str, Assignment]:
        """A copy of all, by session uid, the latest that were told."""
        return dict(self._known)

    @property
    def sessions(self) -> frozenset[str]:
        """Uids of all."""
        return frozenset(self._known)

    def get(self, session_uid: str) -> Assignment | None:
        """The latest that was told of a session."""
        return self._known.get(session_uid)

    def keep(self, want: Assignment, then: Callable[[], None] = lambda: None) -> None:
        """Adds or replaces one, and calls `then` when all that was told until now is on disk; now, if it is already.

        The same again is not written again: what differs in the revision alone asks for nothing else.
        """
        if not same_content(self._known.get(want.session_uid), want):
            self._known[want.session_uid] = want
            self._encoded[want.session_uid] = _encoded(want)
            self._changes += 1
        if self._on_disk == self._changes:
            then()
            return
        self._then.append(then)
        self._changed.set()

    def forget(self, session_uid: str) -> None:
        """Drops one. One that is gone is no error."""
        if self._known.pop(session_uid, None) is not None:
            del self._encoded[session_uid]
            self._changes += 1
            self._changed.set()

    async def run(self) -> None:
        """Writes until it is cancelled. What is not written then was not acted on."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, acts, self._then = self._changes, self._then, []
            if await asyncio.to_thread(self._write, list(self._encoded.values())):
                self._on_disk = changes
            for act in acts:
                act()

    def _write(self, encoded: list[str]) -> bool:
        """Whether it is on disk."""
        text = f'{{"version": {_VERSION}, "assignments": [{",".join(encoded)}]}}'
        try:
            write_file(self._path, text.encode())
        except OSError as error:
            log.warning("assignments are not on disk: make room", file=str(self._path), error=error.strerror)
            return False
        return True


def same_content(one: Assignment | None, other: Assignment) -> bool:
    """Whether two assignments ask for the same; the revision says only when that was so."""
    return one is not None and (one == other or replace(one, revision=other.revision) == other)


def _encoded(want: Assignment) -> str:
    return json.dumps(asdict(want), default=_encode)


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value))


def _load(path: Path) -> dict[str, Assignment]:
    """A file that is missing or damaged is an empty memory: the control plane tells all of it again."""
    try:
        return read_assignments(path)
    except ConfigError as error:
        log.warning("kept assignments not read; the control plane will tell them again", error=error.message)
        return {}


def read_assignments(path: Path) -> dict[str, Assignment]:
    """What a runner keeps in this file, which it may be writing; nothing before the first. Raises ConfigError."""
    try:
        known = [_decode(item) for item in json.loads(path.read_bytes())["assignments"]]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, InvalidInput) as error:
        raise ConfigError(f"the runner's assignments in {path} cannot be read ({error})") from None
    return {want.session_uid: want for want in known}


def _decode(item: dict[str, Any]) -> Assignment:
    spec, snapshot = item["spec"], item["snapshot"]
    spec = spec | {"authorized_keys": tuple(spec["authorized_keys"]), "network": Network(spec["network"])}
    if snapshot is not None:
        snapshot = Snapshot(**snapshot | {"create_time": datetime.fromisoformat(snapshot["create_time"])})
    return Assignment(
        **item | {"desired": DesiredState(item["desired"]), "spec": SessionSpec(**spec), "snapshot": snapshot}
    )  # fmt: skip
