"""Remembers which volumes a session had, so that none of them is ever replaced by an empty one.

Docker silently creates a named volume that is missing. So a container is created only if each volume that the session's
earlier containers had exists, or is filled from the copy of the session's files. One file per session lists them, as
Docker forgets them with the container; a snapshot's image also proves that there was a container with all volumes that
the image declares. A second file lists those that are being filled: a volume in it was left incomplete by a crash.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

import docker.errors
import structlog

from netvps.adapters.docker.client import Answer, Api
from netvps.adapters.docker.errors import ContainerCreationFailed, VolumeMissing
from netvps.domain.runner.docker_names import LABEL_SESSION, is_named_for, parse_snapshot_image
from netvps.domain.session.blueprint import Blueprint, Volume
from netvps.files import write_file

_UNFILLED: Final = ".unfilled"
log = structlog.get_logger()


class SessionVolumes:
    """Volume names by session, in FOLDER/UID.json. Methods block: use them in threads."""

    def __init__(self, folder: Path | None) -> None:
        """With `folder` None, keeps the names in memory only."""
        self._folder = folder
        self._known: dict[str, frozenset[str]] = {}
        self._unfilled: dict[str, frozenset[str]] = {}

    def require(self, api: Api, plan: Blueprint, filled: Collection[str] = ()) -> None:
        """Raises VolumeMissing if a volume that the session had no longer exists, except at the paths `filled`."""
        had = self.of(plan.session_uid)
        # Without a file (a session of an earlier version), a snapshot proves that all volumes existed.
        all_of_them = parse_snapshot_image(plan.image) is not None
        for volume in plan.volumes:
            if volume.target in filled or (volume.name not in had and not all_of_them):
                continue
            if not self._complete(api, plan.session_uid, volume):
                raise VolumeMissing(
                    f"volume {volume.name}, with the session's files in {volume.target}, no longer exists on this "
                    "machine, and the copy of the session's files does not hold it: it was removed while no container "
                    "used it (docker volume prune does that); netvps does not start the session with an empty volume "
                    "instead; restore it under that name from a backup, or accept the loss with "
                    f"'docker volume create {volume.name}', then start the session again"
                )

    def fill(self, api: Api, plan: Blueprint, saved: Collection[str]) -> frozenset[str]:
        """Returns the paths of volumes that are missing and in the copy, which holds those at the paths `saved`.

        Records them first: until `filled`, a volume at one of these paths passes for missing.
        """
        wanted = [volume for volume in plan.volumes if volume.target in saved]
        missing = [volume for volume in wanted if not self._complete(api, plan.session_uid, volume)]
        if missing:
            self.refill(plan.session_uid, [volume.name for volume in missing])
        return frozenset(volume.target for volume in missing)

    def refill(self, session_uid: str, names: Collection[str]) -> None:
        """Records that these volumes are incomplete until `filled`. Raises ContainerCreationFailed if it cannot."""
        try:
            self._write_unfilled(session_uid, frozenset(names))
        except OSError as error:
            raise ContainerCreationFailed(
                f"cannot record which volumes are being restored ({error}); free disk space"
            ) from None

    def filled(self, session_uid: str) -> None:
        """Records that all volumes are complete."""
        self._write_unfilled(session_uid, frozenset())

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
        self.filled(session_uid)
        if self._folder:
            self._path(session_uid).unlink(missing_ok=True)

    def _complete(self, api: Api, session_uid: str, volume: Volume) -> bool:
        """Whether a volume exists; removes one that an interrupted restore left incomplete."""
        try:
            found = api.inspect_volume(volume.name)
        except docker.errors.NotFound:
            return False
        if session_uid not in self._unfilled:
            self._unfilled[session_uid] = self._read(session_uid, _UNFILLED)
        # A volume that an admin made under this name has no label of ours.
        ours = (found.get("Labels") or {}).get(LABEL_SESSION) == session_uid
        if not ours or volume.name not in self._unfilled[session_uid]:
            return True
        api.remove_volume(volume.name)
        return False

    def _write_unfilled(self, session_uid: str, names: frozenset[str]) -> None:
        if self._folder:
            path = self._path(session_uid, _UNFILLED)
            if names:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_file(path, json.dumps(sorted(names)).encode())
            else:
                path.unlink(missing_ok=True)
        self._unfilled[session_uid] = names

    def _read(self, session_uid: str, kind: str = "") -> frozenset[str]:
        if self._folder is None:
            return frozenset()
        try:
            names = json.loads(self._path(session_uid, kind).read_bytes())
            return frozenset(name for name in names if is_named_for(session_uid, "volume", str(name)))
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError, TypeError) as error:
            log.warning("cannot read which volumes a session had", session=session_uid, error=str(error))
            return frozenset()

    def _path(self, session_uid: str, kind: str = "") -> Path:
        return (self._folder or Path()) / f"{session_uid}{kind}.json"


def volume_folders(api: Api, session_uid: str, container_id: str) -> dict[str, str]:
    """Returns the folders on this machine of a session's volumes, by their paths in its container.

    Leaves out volumes that an admin made with another driver, or with options: their files are elsewhere.
    """
    folders = {}
    for mount in api.inspect_container(container_id).get("Mounts") or ():
        name = str(mount.get("Name", ""))
        if mount.get("Type") != "volume" or not is_named_for(session_uid, "volume", name):
            continue
        found = api.inspect_volume(name)
        if found["Driver"] == "local" and not found.get("Options"):
            folders[str(mount["Destination"])] = str(found["Mountpoint"])
    return folders


def clear(folder: str) -> None:
    """Removes everything in a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
