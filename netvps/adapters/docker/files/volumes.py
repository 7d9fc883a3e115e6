"""Remembers which volumes a session had, so that none of them is ever replaced by an empty one.

Docker silently creates a named volume that is missing. So a container is created only if each volume that the session's
earlier containers had exists. One file per session lists them, as Docker forgets them with the container; a snapshot's
image also proves that there was a container with all volumes that the image declares.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import docker.errors
import structlog

from netvps.adapters.docker.client import Answer, Api
from netvps.adapters.docker.errors import VolumeMissing
from netvps.domain.runner.docker_names import is_named_for, parse_snapshot_image
from netvps.domain.session.blueprint import Blueprint
from netvps.files import write_file

log = structlog.get_logger()


class SessionVolumes:
    """Volume names by session, in FOLDER/UID.json. Methods block: use them in threads."""

    def __init__(self, folder: Path | None) -> None:
        """With `folder` None, keeps the names in memory only."""
        self._folder = folder
        self._known: dict[str, frozenset[str]] = {}

    def require(self, api: Api, plan: Blueprint) -> None:
        """Raises VolumeMissing if a volume that the session had no longer exists."""
        had = self.of(plan.session_uid)
        # Without a file (a session of an earlier version), a snapshot proves that all volumes existed.
        all_of_them = parse_snapshot_image(plan.image) is not None
        for volume in plan.volumes:
            if volume.name not in had and not all_of_them:
                continue
            try:
                api.inspect_volume(volume.name)
            except docker.errors.NotFound:
                raise VolumeMissing(
                    f"volume {volume.name}, with the session's files in {volume.target}, no longer exists on this "
                    "machine: it was "
                    "removed while no container used it (docker volume prune does that); netvps does not start the "
                    "session with "
                    "an empty volume instead; restore it under that name from a backup, or accept the loss with "
                    f"'docker volume create {volume.name}', then start the session again"
                ) from None

    def note(self, session_uid: str, names: Collection[str]) -> None:
        """Records that a session has these volumes, in addition to those recorded before."""
        before = self.of(session_uid)
        if before >= set(names):
            return
        self._known[session_uid] = before | set(names)
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_file(self._path(session_uid), json.dumps(sorted(self._known[session_uid])).encode())
        except OSError as error:
            log.warning("cannot record which volumes a session has; free disk space", error=str(error))

    def note_mounted(self, session_uid: str, found: Answer) -> None:
        """Records the volumes of a session's container, from its inspection."""
        mounted = (str(mount.get("Name", "")) for mount in found.get("Mounts") or () if mount.get("Type") == "volume")
        self.note(session_uid, [name for name in mounted if is_named_for(session_uid, "volume", name)])

    def of(self, session_uid: str) -> frozenset[str]:
        """Returns the names of the volumes that a session is known to have had."""
        if session_uid not in self._known:
            self._known[session_uid] = self._read(session_uid)
        return self._known[session_uid]

    def forget(self, session_uid: str) -> None:
        """Deletes the record of an erased session."""
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
            log.warning("cannot read which volumes a session had", session=session_uid, error=str(error))
            return frozenset()

    def _path(self, session_uid: str) -> Path:
        return (self._folder or Path()) / f"{session_uid}.json"
