"""Snapshots of sessions as archives: taken of a container or of its copy, and unpacked into a new container.

A running container is paused while its files are read, so that they are of one moment. A stopped one that was copied
has its archive already: the snapshot is another name of the same file, and takes no space of its own.
"""

from __future__ import annotations

import io
import os
import secrets
import tarfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

import docker.errors
import docker.utils
import requests.exceptions

from netvps.adapters.docker.client import CALL_SECONDS, Answer, Api, Docker
from netvps.adapters.docker.containers.containers import parse_time
from netvps.adapters.docker.errors import ContainerNotFound, ImageExportFailed, ImageImportFailed, ImageNotFound
from netvps.adapters.docker.files.archives import Archives, GivenUp, Note, own_errors
from netvps.adapters.docker.files.copies import Copies
from netvps.adapters.docker.files.hooks import mark_restored, run_before_snapshot
from netvps.domain.session.container import Container
from netvps.domain.session.kept import keeps
from netvps.domain.snapshot.saved import SavedSnapshot
from netvps.domain.snapshot.snapshot import SnapshotSource
from netvps.errors import WrongState
from netvps.faults import fault_point

_MACHINE_IDS: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_MAX_MACHINE_ID: Final = 4096


class SnapshotArchives:
    """The snapshots among the archives."""

    def __init__(self, docker: Docker, archives: Archives, copies: Copies) -> None:
        self._docker = docker
        self._archives = archives
        self._copies = copies
        self._folder = archives.folder / "snapshots"

    def find(self, session_uid: str) -> dict[str, SavedSnapshot]:
        """The complete snapshots of a session, by uid. Reads a small file for each."""
        prefix = f"{session_uid}-"
        uids = (path.stem.removeprefix(prefix) for path in self._folder.glob(f"{prefix}*.json"))
        found = ((uid, self._archives.read_note(self._json(session_uid, uid))) for uid in uids)
        return {uid: _saved(uid, note) for uid, note in found if note}

    def note(self, session_uid: str, uid: str) -> Note | None:
        """The note of a complete snapshot; None if it is not here. Reads a small file."""
        return self._archives.read_note(self._json(session_uid, uid))

    def put_note(self, session_uid: str, uid: str, note: Note) -> None:
        """Makes an archive that is complete a snapshot. Blocks."""
        self._archives.write_note(self._json(session_uid, uid), note, lambda: False)

    def traces(self, session_uid: str) -> frozenset[str]:
        """Uids of the session's snapshots of which there is any file."""
        prefix = f"{session_uid}-"
        return frozenset(path.name.removeprefix(prefix).partition(".")[0] for path in self._folder.glob(f"{prefix}*"))

    def sessions(self) -> frozenset[str]:
        """Returns the uids of sessions that have a snapshot, complete or not."""
        return frozenset(path.name.partition("-")[0] for path in self._folder.glob("*-*"))

    async def take(
        self,
        session_uid: str,
        uid: str,
        container: Container | None,
        given_up: Callable[[], bool],
        *,
        excluded: Collection[str] = (),
    ) -> bool:
        """Takes a snapshot, of the copy if there is no container, without what is below `excluded`.

        Returns False if `given_up()`, called in a thread, returns true, or if the container was started, stopped or
        resumed meanwhile. Raises DiskFull with needed and free space, ImageExportFailed, and WrongState if this machine
        cannot take any.
        """

        def work(api: Api) -> bool:
            with suppress(GivenUp), own_errors("cannot take the snapshot", ImageExportFailed):
                return self._take(api, session_uid, uid, container, given_up, excluded=excluded)
            return False

        return await self._docker.call_slowly(f"snapshot of {session_uid}", work, ImageExportFailed)

    def keep(self, session_uid: str, uid: str, run: str) -> SavedSnapshot | None:
        """Makes the copy of a session a snapshot, too; None if the copy is not of that run. Blocks.

        Raises DiskFull, ImageExportFailed.
        """
        note = self._copies.note(session_uid)
        if note is None or not keeps(note.run, run):
            return None
        return self._link(session_uid, uid, note, self._archives.folder / note.archive)

    def repeat(self, session_uid: str, uid: str, source: SnapshotSource) -> bool:
        """Makes another snapshot one of a session, too, which is to be made from it. Raises ImageNotFound. Blocks."""
        note = self._required(source.session, source.uid)
        self._link(session_uid, uid, replace(note, run=""), self.archive(source.session, source.uid))
        return True

    def _link(self, session_uid: str, uid: str, note: Note, content: Path) -> SavedSnapshot:
        archive = self.archive(session_uid, uid)
        own = replace(note, archive=archive.name)
        with own_errors("cannot take the snapshot", ImageExportFailed):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            archive.unlink(missing_ok=True)
            os.link(content, archive)
            self._archives.write_note(self._json(session_uid, uid), own, lambda: False)
        return _saved(uid, own)

    def adopt_archive(self, session_uid: str, uid: str, received: Path, note: Note) -> SavedSnapshot:
        """Makes a checked archive a snapshot, which is of no run of the session. Blocks."""
        archive = self.archive(session_uid, uid)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        received.rename(archive)
        own = replace(note, archive=archive.name)
        self._archives.write_note(self._json(session_uid, uid), own, lambda: False)
        return _saved(uid, own)

    async def image(self, session_uid: str, uid: str) -> tuple[str, str | None]:
        """The image below a snapshot: its id, and the name to pull, or None if it is in Docker now."""
        note = self._required(session_uid, uid)
        load = partial(self._archives.load, note=note)
        return note.image, await self._docker.call_slowly(f"image {note.image}", load, ImageImportFailed)

    def content(self, session_uid: str, uid: str) -> tuple[Note, Path]:
        """The note of a snapshot, and its archive. Raises ImageNotFound. Reads a small file."""
        return self._required(session_uid, uid), self.archive(session_uid, uid)

    def volumes(self, session_uid: str, uid: str) -> frozenset[str]:
        """Returns the paths of the volumes whose files are in a snapshot. Reads a small file."""
        return frozenset(self._required(session_uid, uid).volumes)

    async def unpack_volumes(
        self, source: SnapshotSource, session_uid: str, container_id: str, volumes: Collection[str]
    ) -> None:
        """Replaces the files in these volumes of a session by those in a snapshot, which `unpack` has checked."""
        unpack = partial(
            self._archives.unpack_volumes,
            session_uid=session_uid,
            note=self._required(source.session, source.uid),
            archive=self.archive(source.session, source.uid),
            container_id=container_id,
            volumes=volumes,
        )
        await self._docker.call_slowly(f"volumes of snapshot {source.uid}", unpack, ImageImportFailed)

    async def unpack(self, session_uid: str, uid: str, container_id: str) -> None:
        """Extracts a snapshot, without its volumes, into a container that never ran.

        Raises DataLoss if it is damaged.
        """
        note, archive = self._required(session_uid, uid), self.archive(session_uid, uid)
        unpack = partial(self._archives.unpack, note=note, archive=archive, container_id=container_id)
        await self._docker.call_slowly(f"snapshot {uid}", unpack, ImageImportFailed)

    def adopt(self, session_uid: str, uid: str, run: str) -> None:
        """Makes a snapshot of a session its copy, too, for a run that begins with the same files. Blocks."""
        self._copies.adopt(
            session_uid, self._required(session_uid, uid), self.archive(session_uid, uid), run
        )  # fmt: skip

    async def renew_machine_id(self, container_id: str) -> None:
        """Gives a container that never ran another machine id, if it has one."""
        await self._docker.call(f"machine id of {container_id}", partial(_renew_machine_id, container_id))

    def disown(self, session_uid: str, uid: str) -> frozenset[str]:
        """Makes a damaged archive no snapshot and no copy of a session any more, under all names that the file has.

        Returns the uids of those snapshots. `uid` '' is the copy. The file stays until another takes its place. Blocks.
        """
        copied = self._copies.content(session_uid)
        damaged = self.archive(session_uid, uid) if uid else copied and copied[1]
        if not damaged or not damaged.exists():
            return frozenset()
        if copied and copied[1].samefile(damaged):
            self._copies.disown(session_uid)
        same = frozenset(one for one in self.find(session_uid) if self.archive(session_uid, one).samefile(damaged))
        for one in same:
            self._json(session_uid, one).unlink(missing_ok=True)
        return same

    async def mark_restored(self, container_id: str, how: str) -> None:
        """Has the post-restore hooks of a container that never ran run at its first start; `how` is for them."""
        await self._docker.call(f"hooks of {container_id}", partial(mark_restored, container_id, how))

    def drop(self, session_uid: str, uid: str) -> None:
        """Removes a snapshot, complete or not; idempotent. Blocks."""
        self._json(session_uid, uid).unlink(missing_ok=True)  # first: without it, it is no snapshot
        fault_point("drop.unlisted")
        for path in self._folder.glob(f"{session_uid}-{uid}.*"):
            path.unlink(missing_ok=True)
        self._archives.drop_images()

    def erase(self, session_uid: str) -> None:
        """Removes all snapshots of a session. Blocks."""
        for path in self._folder.glob(f"{session_uid}-*"):
            path.unlink(missing_ok=True)
        self._archives.drop_images()

    def _take(
        self,
        api: Api,
        session_uid: str,
        uid: str,
        container: Container | None,
        given_up: Callable[[], bool],
        *,
        excluded: Collection[str],
    ) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for remains in self._folder.glob(f"{session_uid}-*.part"):  # of a killed runner: one is taken at a time
            remains.unlink(missing_ok=True)
        copied = self._copies.note(session_uid)
        # A copy that leaves out more than the snapshot should is none of it.
        whole = copied is not None and set(copied.excluded) <= set(excluded)
        if copied and (container is None or (whole and keeps(copied.run, container.run))):
            return self.keep(session_uid, uid, copied.run) is not None
        if container is None:
            raise WrongState("the session has no container, and no copy of its files: start it first")
        if not container.files:
            raise WrongState(
                "this machine takes no snapshots: that needs Docker's storage driver overlay2 on the same machine, and "
                "a runner with root's rights"
            )
        archive = self.archive(session_uid, uid)
        state = _state(api, container.id)
        hooks = run_before_snapshot(api, container.id, given_up) if _writes(state, container) else ()
        with _still(api, container) as holds_still:
            note = self._archives.pack(api, session_uid, container, archive, given_up, excluded=excluded)
            fault_point("take.written")
            if not holds_still():
                archive.unlink(missing_ok=True)
                return False
        if not note.registry:
            self._archives.save_image(api, note.image, given_up)
        missing = _missing(api.inspect_container(container.id), note.volumes)
        note = replace(note, warnings=note.warnings + missing + hooks)
        self._archives.write_note(self._json(session_uid, uid), note, given_up)
        return True

    def _required(self, session_uid: str, uid: str) -> Note:
        note = self._archives.read_note(self._json(session_uid, uid))
        if note is None:
            raise ImageNotFound(f"snapshot {uid} of session {session_uid} is not in {self._folder}")
        return note

    def _json(self, session_uid: str, uid: str) -> Path:
        return self._folder / f"{session_uid}-{uid}.json"

    def archive(self, session_uid: str, uid: str) -> Path:
        """The file of a snapshot, whether it exists or not."""
        return self._folder / f"{session_uid}-{uid}.tar"


@contextmanager
def _still(api: Api, container: Container) -> Iterator[Callable[[], bool]]:
    """Pauses a running container for the block; what is yielded tells whether it wrote nothing since the beginning."""
    pauses = _writes(_state(api, container.id), container)
    if pauses:
        api.pause(container.id)
    fault_point("take.paused")
    begun = _moment(_state(api, container.id))
    try:
        yield lambda: _moment(_state(api, container.id)) == begun
    finally:
        if pauses:
            with suppress(docker.errors.APIError):  # it was resumed, stopped or removed
                api.unpause(container.id)


def _state(api: Api, container_id: str) -> Answer:
    try:
        state: Answer = api.inspect_container(container_id)["State"]
    except docker.errors.NotFound:
        raise ContainerNotFound(f"container {container_id[:12]} was removed while its snapshot was taken") from None
    return state


def _writes(state: Answer, container: Container) -> bool:
    """Whether processes may write to its files."""
    return bool(state["Running"]) and not state["Paused"] and not container.held


def _moment(state: Answer) -> tuple[object, ...]:
    return parse_time(state.get("StartedAt")), bool(state["Running"]), bool(state["Paused"])


def _missing(found: Answer, held: Collection[str]) -> tuple[str, ...]:
    """What is not in the archive of a container: volumes whose files are elsewhere."""
    volumes = {str(one["Destination"]) for one in found.get("Mounts") or () if one.get("Type") == "volume"}
    missing = ", ".join(sorted(volumes - set(held)))
    return (f"it does not hold what is in volumes of other drivers: {missing}",) if missing else ()


def _renew_machine_id(container_id: str, api: Api) -> None:
    """Through Docker, which follows the container's links inside of the container only."""
    renewed = f"{secrets.token_hex(16)}\n".encode()
    for path in _MACHINE_IDS:
        folder, _, name = path.rpartition("/")
        found = _stat(api, container_id, path)
        if not found or not 0 < int(found.get("size") or 0) <= _MAX_MACHINE_ID or found.get("linkTarget"):
            continue  # empty: it is made at the first start; a link: the other one is meant
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(renewed), 0o444
            archive.addfile(entry, io.BytesIO(renewed))
        api.put_archive(container_id, folder, packed.getvalue())


def _stat(api: Api, container_id: str, path: str) -> Answer | None:
    """What Docker knows of a file in a container; None if there is none.

    The library asks with the content only, for which Docker starts a process: ten times as long as all else here.
    """
    url = f"{api.base_url}/v{api.api_version}/containers/{container_id}/archive"
    answer = api.head(url, params={"path": path}, timeout=CALL_SECONDS)
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return None
    try:
        answer.raise_for_status()
    except requests.exceptions.HTTPError as error:
        docker.errors.create_api_error_from_http_exception(error)
    found: Answer = docker.utils.decode_json_header(answer.headers["X-Docker-Container-Path-Stat"])
    return found


def _saved(uid: str, note: Note) -> SavedSnapshot:
    return SavedSnapshot(
        uid, note.run, note.image, note.size_bytes, datetime.fromisoformat(note.create_time), note.warnings
    )
