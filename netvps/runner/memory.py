"""The last known assignments, kept on disk: a runner that starts while the control plane is away goes by them."""

from __future__ import annotations

import json
from dataclasses import asdict
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

    Where the disk is full they are acted on all the same, and kept with the next change: a runner that dies meanwhile
    hears them again from the control plane.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        remove_parts(path.parent)
        self._known = _load(path)
        self._unsaved = False

    @property
    def assignments(self) -> dict[str, Assignment]:
        """A copy of all, by session uid."""
        return dict(self._known)

    def keep(self, want: Assignment) -> None:
        """Adds or replaces one. The same again is not written again."""
        if self._unsaved or self._known.get(want.session_uid) != want:
            self._known[want.session_uid] = want
            self._save()

    def forget(self, session_uid: str) -> None:
        """Drops one. One that is gone is no error."""
        if self._known.pop(session_uid, None) is not None:
            self._save()

    def _save(self) -> None:
        known = [asdict(want) for want in self._known.values()]
        text = json.dumps({"version": _VERSION, "assignments": known}, default=_encode)
        try:
            write_file(self._path, text.encode())
            self._unsaved = False
        except OSError as error:
            self._unsaved = True
            log.warning("assignments are not on disk: make room", file=str(self._path), error=error.strerror)


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
