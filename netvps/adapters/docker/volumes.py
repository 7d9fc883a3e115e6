"""Which volumes a session had: none of them is ever replaced by an empty one.

Docker makes a named volume that is missing, without a word. So a container is made only if each volume that the
session's containers had before is there. What they had is in a file for each session, since Docker forgets it with the
container; and a snapshot's image shows that there was a container with all volumes that the image declares.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

import docker.errors
import structlog

from netvps.adapters.docker.client import Answer, Api
from netvps.adapters.docker.errors import VolumeMissing
from netvps.domain.blueprint import Blueprint
from netvps.domain.docker_names import is_named_for, parse_snapshot_image

log = structlog.get_logger()


class SessionVolumes:
    """Names of volumes by session, in FOLDER/UID.json. All of it blocks: for use in threads."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` None: they are kept in memory alone."""
        self._folder = folder
        self._known: dict[str, frozenset[str]] = {}

    def require(self, api: Api, plan: Blueprint) -> None:
        """Raises VolumeMissing if a volume that the session had is not there any more."""
        had = self.of(plan.session_uid)
        # Of a session from before this was kept, a snapshot shows that it had all of them.
        all_of_them = parse_snapshot_image(plan.image) is not None
        for volume in plan.volumes:
            if volume.name not in had and not all_of_them:
                continue
            try:
                api.inspect_volume(volume.name)
            except docker.errors.NotFound:
                raise VolumeMissing(
                    f"volume {volume.name}, with the session's files in {volume.target}, is not on this machine any "
                    "more: it was removed while no container used it (docker volume prune does that), and netvps does "
                    "not start the session with an empty one in its place; restore it under that name from a backup, "
                    f"or accept the loss with 'docker volume create {volume.name}', and start the session again"
                ) from None

    def note(self, session_uid: str, names: Collection[str]) -> None:
        """Keeps that a session has these volumes, beside those that it had."""
        before = self.of(session_uid)
        if before >= set(names):
            return
        self._known[session_uid] = before | set(names)
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = self._path(session_uid).with_suffix(".part")
            with part.open("w", encoding="utf-8") as file:
                json.dump(sorted(self._known[session_uid]), file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path(session_uid))
        except OSError as error:
            log.warning("which volumes a session has is not on disk: make room", error=str(error))

    def note_mounted(self, session_uid: str, found: Answer) -> None:
        """Keeps which volumes a session's container has, by what the engine says of that."""
        mounted = (str(mount.get("Name", "")) for mount in found.get("Mounts") or () if mount.get("Type") == "volume")
        self.note(session_uid, [name for name in mounted if is_named_for(session_uid, "volume", name)])

    def of(self, session_uid: str) -> frozenset[str]:
        """Names of the volumes that a session is known to have had."""
        if session_uid not in self._known:
            self._known[session_uid] = self._read(session_uid)
        return self._known[session_uid]

    def forget(self, session_uid: str) -> None:
        """The session is erased."""
        self._known.pop(session_uid, None)
        if self._folder:
            self._path(session_uid).unlink(missing_ok=True)

    def _read(self, session_uid: str) -> frozenset[str]:
        if self._folder is None:
            return frozenset()
        try:
            names = json.loads(self._path(session_uid).read_bytes())
            return frozenset(name for name in names if is_named_for(session_uid, "volume", str(name)))
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError, TypeError) as error:
            log.warning("which volumes a session had cannot be read", session=session_uid, error=str(error))
            return frozenset()

    def _path(self, session_uid: str) -> Path:
        return (self._folder or Path()) / f"{session_uid}.json"
