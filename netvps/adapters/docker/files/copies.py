"""The copy of each stopped session: an archive of what its container wrote.

`docker system prune -a` removes stopped containers and all images that only they use. A copy restores them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from netvps.adapters.docker.client import Api, Docker
from netvps.adapters.docker.containers.containers import unchanged
from netvps.adapters.docker.errors import ImageExportFailed, ImageImportFailed, ImageNotFound
from netvps.adapters.docker.files.archives import Archives, GivenUp, Note, own_errors
from netvps.domain.session.container import Container
from netvps.domain.session.kept import SavedFiles, keeps
from netvps.faults import fault_point


class Copies:
    """The copies among the archives."""

    def __init__(self, docker: Docker, archives: Archives) -> None:
        self._docker = docker
        self._archives = archives
        self._folder = archives.folder

    def find(self, session_uid: str) -> SavedFiles | None:
        """Reads the note of a session's copy; None if there is none. Reads one small file."""
        note = self.note(session_uid)
        if note is None:
            return None
        saved = bool(note.registry) or self._archives.image_file(note.image).exists()
        return SavedFiles(note.run, note.image, datetime.fromisoformat(note.create_time), saved, note.excluded)

    def note(self, session_uid: str) -> Note | None:
        """Reads the note of a session's copy."""
        return self._archives.read_note(self._json(session_uid))

    def content(self, session_uid: str) -> tuple[Note, Path] | None:
        """The note of a session's copy, and its archive; None if there is none. Reads a small file."""
        note = self.note(session_uid)
        return (note, self._folder / note.archive) if note else None

    def sessions(self) -> frozenset[str]:
        """Returns the uids of sessions that have a copy, complete or not."""
        return frozenset(re.split(r"[.-]", path.name)[0] for path in self._folder.glob("*") if path.is_file())

    async def write(
        self, session_uid: str, container: Container, given_up: Callable[[], bool], *, excluded: Collection[str] = ()
    ) -> bool:
        """Copies what a stopped container wrote, without what is below `excluded`; replaces an older copy.

        Returns False if `given_up()`, called in a thread, returns true, or if the container was started meanwhile.
        Raises DiskFull with needed and free space, ImageExportFailed, ContainerNotFound.
        """

        def work(api: Api) -> bool:
            with suppress(GivenUp), own_errors("cannot copy the session's files", ImageExportFailed):
                return self._write(api, session_uid, container, given_up, excluded=excluded)
            return False

        return await self._docker.call_slowly(f"copy of container {container.id[:12]}", work, ImageExportFailed)

    async def image(self, session_uid: str) -> str | None:
        """Loads the image below a copy if it was saved here; else returns the name to pull. None if it is loaded."""
        note = self._required(session_uid)
        load = partial(self._archives.load, note=note)
        return await self._docker.call_slowly(f"image {note.image}", load, ImageImportFailed)

    def volumes(self, session_uid: str) -> frozenset[str]:
        """Returns the paths of the volumes whose files are in a session's copy. Reads one small file."""
        note = self.note(session_uid)
        return frozenset(note.volumes if note else ())

    async def unpack(self, session_uid: str, container_id: str, volumes: Collection[str]) -> None:
        """Extracts a copy into a container that never ran, and into those of its volumes that are named.

        Raises DataLoss if the copy is damaged.
        """
        note = self._required(session_uid)
        archive = self._folder / note.archive

        def unpack(api: Api) -> None:
            self._archives.unpack(api, note, archive, container_id)
            self._archives.unpack_volumes(
                api,
                session_uid=session_uid,
                note=note,
                archive=archive,
                container_id=container_id,
                volumes=volumes,
            )

        await self._docker.call_slowly(f"files of session {session_uid}", unpack, ImageImportFailed)

    def adopt(self, session_uid: str, note: Note, archive: Path, run: str) -> None:
        """Makes an archive the copy of a session after a run that has the same files. Blocks."""
        own = replace(note, run=run, archive=self._archive(session_uid, run).name)
        draft = self._folder / f"{own.archive}.part"
        draft.unlink(missing_ok=True)
        os.link(archive, draft)
        draft.replace(self._folder / own.archive)  # there may be a damaged one
        draft.unlink(missing_ok=True)  # if it is the same file already
        self._put(session_uid, own, lambda: False)

    def disown(self, session_uid: str) -> None:
        """Makes a damaged copy none any more; its file stays until another takes its place. Blocks."""
        self._json(session_uid).unlink(missing_ok=True)

    def erase(self, session_uid: str) -> None:
        """Removes a session's copy, and images that no other archive needs. Blocks."""
        for path in self._files(session_uid):
            path.unlink(missing_ok=True)
        self._archives.drop_images()

    def _files(self, session_uid: str) -> list[Path]:
        """Lists a session's files, including incomplete ones of a killed runner."""
        return [*self._folder.glob(f"{session_uid}.json*"), *self._folder.glob(f"{session_uid}-*.tar*")]

    def _write(
        self,
        api: Api,
        session_uid: str,
        container: Container,
        given_up: Callable[[], bool],
        *,
        excluded: Collection[str],
    ) -> bool:
        note = self.note(session_uid)
        if note is None or not keeps(note.run, container.run):
            note = self._write_files(api, session_uid, container, given_up, excluded=excluded)
        if note and not note.registry:
            self._archives.save_image(api, note.image, given_up)
            self._archives.drop_images()
        return note is not None

    def _write_files(
        self,
        api: Api,
        session_uid: str,
        container: Container,
        given_up: Callable[[], bool],
        *,
        excluded: Collection[str],
    ) -> Note | None:
        """Archives the files, before the image: that is quick, and only the session has them."""
        archive = self._archive(session_uid, container.run)
        note = self._archives.pack(api, session_uid, container, archive, given_up, excluded=excluded)
        fault_point("copy.written")
        if not unchanged(api, container):
            archive.unlink(missing_ok=True)
            return None
        self._put(session_uid, note, given_up)
        return note

    def _put(self, session_uid: str, note: Note, given_up: Callable[[], bool]) -> None:
        """Writes the note, which makes its archive the copy, and removes what it replaces."""
        self._archives.write_note(self._json(session_uid), note, given_up)
        for older in self._files(session_uid):
            if older not in {self._folder / note.archive, self._json(session_uid)}:
                older.unlink(missing_ok=True)

    def _required(self, session_uid: str) -> Note:
        note = self.note(session_uid)
        if note is None:
            raise ImageNotFound(f"session {session_uid} has no copy in {self._folder}")
        return note

    def _json(self, session_uid: str) -> Path:
        return self._folder / f"{session_uid}.json"

    def _archive(self, session_uid: str, run: str) -> Path:
        return self._folder / f"{session_uid}-{hashlib.sha256(run.encode()).hexdigest()[:16]}.tar"
