"""Keeps archives of what the containers of stopped sessions wrote, in a folder outside of Docker.

`docker system prune -a` removes stopped containers and all images that only they use. An archive restores them, with
everything that an image cannot hold: ACLs, extended attributes, hard links, holes, nanoseconds, files named ".wh.…".
GNU tar makes it from the container's overlayfs upper folder while the container does not run. The image below is saved,
too, once for all sessions, unless a registry has it.

    FOLDER/UID.json           metadata of a session's copy, including the archive's name
    FOLDER/UID-HASH.tar       the archive: one tar archive of the upper folder, then one of each volume, end to end
    FOLDER/images/HEX.tar     an image, as `docker save` writes it
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import docker.errors
import requests.exceptions
import structlog

from netvps.adapters.docker.client import SLOW_SECONDS, Answer, Api, Docker, disk_free
from netvps.adapters.docker.containers.containers import files_folder, unchanged
from netvps.adapters.docker.errors import DiskFull, DockerError, ImageExportFailed, ImageImportFailed, ImageNotFound
from netvps.adapters.docker.files.volumes import clear, volume_folders
from netvps.adapters.docker.files.written import survey
from netvps.domain.session.container import Container
from netvps.domain.session.kept import SavedFiles
from netvps.faults import fault_point

log = structlog.get_logger()

_TAR: Final = ("tar", "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--sparse")
# overlayfs records these about the layers below, by inode numbers that a restored image does not have.
_BOUND: Final = tuple(f"--xattrs-exclude=trusted.overlay.{name}" for name in ("origin", "impure", "nlink", "upper"))
_PIECE: Final = 1 << 20
_MIB: Final = 1 << 20
_SPARE_BYTES: Final = 64 << 20
_LOOK_EVERY: Final = 64
"""Pieces between checks of the free space."""
_SETTLED_SECONDS: Final = 3600
"""A younger image archive may belong to a copy that another process is making."""


class _GivenUp(Exception):
    """The copy is not needed any more."""


@dataclass(frozen=True, slots=True)
class _Metadata:
    """The content of FOLDER/UID.json."""

    run: str
    image: str
    """Image id."""
    registry: str
    """NAME@DIGEST of that image in a registry; '' if it was saved here."""
    archive: str
    """File name."""
    sha256: str
    create_time: str
    volumes: dict[str, int] = field(default_factory=dict)
    """Where the tar archive of a volume begins in the archive, in bytes, by the volume's path in the container."""


class Copies:
    """Copies in `folder`, which is created when needed."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        self._docker = docker
        self._folder = folder
        self._saving = threading.Lock()

    def find(self, session_uid: str) -> SavedFiles | None:
        """Reads the metadata of a session's copy; None if there is none. Reads one small file."""
        note = self._note(session_uid)
        if note is None:
            return None
        saved = bool(note.registry) or self._image(note.image).exists()
        return SavedFiles(note.run, note.image, datetime.fromisoformat(note.create_time), saved)

    def sessions(self) -> frozenset[str]:
        """Returns the uids of sessions that have a copy, complete or not."""
        return frozenset(re.split(r"[.-]", path.name)[0] for path in self._folder.glob("*") if path.is_file())

    async def write(self, session_uid: str, container: Container, given_up: Callable[[], bool]) -> bool:
        """Copies what a stopped container wrote; replaces an older copy of the session.

        Returns False if `given_up()`, called in a thread, returns true, or if the container was started meanwhile.
        Raises DiskFull with needed and free space, ImageExportFailed, ContainerNotFound.
        """

        def work(api: Api) -> bool:
            with suppress(_GivenUp), _own_errors("cannot copy the session's files", ImageExportFailed):
                return self._write(api, session_uid, container, given_up)
            return False

        return await self._docker.call_slowly(f"copy of container {container.id[:12]}", work, ImageExportFailed)

    async def image(self, session_uid: str) -> str | None:
        """Loads the image below a copy if it was saved here; else returns the name to pull. None if it is loaded."""
        note = self._required(session_uid)
        return await self._docker.call_slowly(f"image {note.image}", partial(self._load, note), ImageImportFailed)

    def volumes(self, session_uid: str) -> frozenset[str]:
        """Returns the paths of the volumes whose files are in a session's copy. Reads one small file."""
        note = self._note(session_uid)
        return frozenset(note.volumes if note else ())

    async def unpack(self, session_uid: str, container_id: str, volumes: Collection[str]) -> None:
        """Extracts a copy into a container that never ran, and into those of its volumes that are named.

        Raises ImageImportFailed if the copy is damaged.
        """
        note = self._required(session_uid)
        unpack = partial(self._unpack, session_uid, note, container_id, volumes)
        await self._docker.call_slowly(f"files of session {session_uid}", unpack, ImageImportFailed)

    def erase(self, session_uid: str) -> None:
        """Removes a session's copy, and images that no other copy needs. Blocks."""
        for path in self._files(session_uid):
            path.unlink(missing_ok=True)
        self._drop_images()

    def _files(self, session_uid: str) -> list[Path]:
        """Lists a session's files, including incomplete ones of a killed runner."""
        return [*self._folder.glob(f"{session_uid}.json*"), *self._folder.glob(f"{session_uid}-*.tar*")]

    def _write(self, api: Api, session_uid: str, container: Container, given_up: Callable[[], bool]) -> bool:
        note = self._note(session_uid)
        if note is None or note.run != container.run:
            note = self._write_files(api, session_uid, container, given_up)
        if note and not note.registry:
            self._save_image(api, note.image, given_up)
            self._drop_images()
        return note is not None

    def _write_files(
        self, api: Api, session_uid: str, container: Container, given_up: Callable[[], bool]
    ) -> _Metadata | None:
        """Archives the files, before the image: that is quick, and only the session has them."""
        folders = {"": container.files} | volume_folders(api, session_uid, container.id)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._need(sum(survey(folder).blocks for folder in folders.values()))
        registry = (api.inspect_image(container.image).get("RepoDigests") or [""])[0]
        archive = self._folder / f"{session_uid}-{hashlib.sha256(container.run.encode()).hexdigest()[:16]}.tar"
        begins: dict[str, int] = {}
        sha256 = self._store(_joined(folders, begins), archive, given_up)
        fault_point("copy.written")
        if not unchanged(api, container):
            archive.unlink(missing_ok=True)
            return None
        del begins[""]
        now = datetime.now(UTC).isoformat()
        note = _Metadata(container.run, container.image, registry, archive.name, sha256, now, begins)
        content = json.dumps({name: getattr(note, name) for name in _Metadata.__slots__}).encode()
        self._store([content], self._json(session_uid), given_up)
        for older in self._files(session_uid):
            if older not in {archive, self._json(session_uid)}:
                older.unlink(missing_ok=True)
        return note

    def _save_image(self, api: Api, image_id: str, given_up: Callable[[], bool]) -> None:
        target = self._image(image_id)
        with self._saving:  # many sessions may share one image
            if not target.exists():
                target.parent.mkdir(exist_ok=True, mode=0o700)
                self._need(int(api.inspect_image(image_id)["Size"]))
                self._store(api.get_image(image_id, chunk_size=_PIECE), target, given_up)

    def _load(self, note: _Metadata, api: Api) -> str | None:
        with suppress(docker.errors.ImageNotFound):
            api.inspect_image(note.image)
            return None
        if note.registry:
            return note.registry
        try:
            with self._image(note.image).open("rb") as archive:
                list(api.load_image(archive))
        except FileNotFoundError:
            raise ImageNotFound(
                f"image {note.image} is neither in Docker nor in {self._folder}; load it again (docker load)"
            ) from None
        return None

    def _unpack(self, session_uid: str, note: _Metadata, container_id: str, volumes: Collection[str], api: Api) -> None:
        archive = self._folder / note.archive
        upper = files_folder(api.inspect_container(container_id))
        if not upper:
            raise ImageImportFailed(
                "Docker's folder of the container is not accessible; run the runner as root on the host"
            )
        folders = volume_folders(api, session_uid, container_id)
        with _own_errors(f"cannot unpack the copy {archive}", ImageImportFailed), archive.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != note.sha256:
                raise ImageImportFailed(
                    f"the copy {archive} is damaged: its checksum does not match; nothing was started"
                )
            _extract(content, 0, upper)
            for path in volumes:
                clear(folders[path])  # Docker fills a new volume with the image's files
                _extract(content, note.volumes[path], folders[path])

    def _need(self, size: int) -> None:
        free = disk_free(str(self._folder))
        if free is not None and size + _SPARE_BYTES > free:
            raise DiskFull(
                f"the copy of the session's files needs {(size + _SPARE_BYTES) // _MIB} MiB and {free // _MIB} MiB "
                "are free "
                f"in {self._folder}: free space there"
            )

    def _store(self, pieces: Iterable[bytes], target: Path, given_up: Callable[[], bool]) -> str:
        """Writes a file atomically; returns its SHA-256."""
        draft = target.with_name(f"{target.name}.{os.getpid()}.part")
        digest = hashlib.sha256()
        try:
            with open(draft, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
                for number, piece in enumerate(pieces):
                    if given_up():
                        raise _GivenUp
                    if number % _LOOK_EVERY == 0:
                        self._need(0)
                    digest.update(piece)
                    output.write(piece)
                output.flush()
                os.fsync(output.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return digest.hexdigest()

    def _drop_images(self) -> None:
        used = {note.image for uid in self.sessions() if (note := self._note(uid))}
        for archive in (self._folder / "images").glob("*"):  # also incomplete files of a crash
            with suppress(FileNotFoundError):
                settled = time.time() - archive.stat().st_mtime > _SETTLED_SECONDS
                if settled and f"sha256:{archive.name.removesuffix('.tar')}" not in used:
                    archive.unlink()

    def _required(self, session_uid: str) -> _Metadata:
        note = self._note(session_uid)
        if note is None:
            raise ImageNotFound(f"session {session_uid} has no copy in {self._folder}")
        return note

    def _note(self, session_uid: str) -> _Metadata | None:
        try:
            said: Answer = json.loads(self._json(session_uid).read_bytes())
            note = _Metadata(**said)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            log.warning("cannot read the copy of a session", session=session_uid, error=str(error))
            return None
        return note if (self._folder / note.archive).exists() else None

    def _json(self, session_uid: str) -> Path:
        return self._folder / f"{session_uid}.json"

    def _image(self, image_id: str) -> Path:
        return self._folder / "images" / f"{image_id.removeprefix('sha256:')}.tar"


@contextmanager
def _own_errors(what: str, otherwise: type[DockerError]) -> Iterator[None]:
    """Maps errors of our own files and programs; those of the engine's library, which are OSErrors, too, pass."""
    try:
        yield
    except requests.exceptions.RequestException:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull(f"{what}: the disk of the runner's state folder is full; free space") from None
        raise otherwise(f"{what}: {error.strerror or error} ({error.filename})") from None


def _joined(folders: Mapping[str, str], begins: dict[str, int]) -> Iterator[bytes]:
    """Yields a tar archive of each folder, end to end; sets `begins` to where each begins, by the folder's key."""
    size = 0
    for key, folder in folders.items():
        begins[key] = size
        for piece in _packed(folder):
            size += len(piece)
            yield piece


def _packed(folder: str) -> Iterator[bytes]:
    """Yields a tar archive of a folder. Raises ImageExportFailed at its end if it is incomplete."""
    command = [*_TAR, *_BOUND, "--format=posix", f"--directory={folder}", "--create", "--file=-", "."]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=_environment()
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 — a pipe
        try:
            while piece := process.stdout.read(_PIECE):
                yield piece
        except BaseException:
            process.kill()
            raise
        if process.wait():
            errors.seek(0)
            raise ImageExportFailed(f"cannot copy the session's files: {_last_line(errors.read(_PIECE))}")


def _extract(archive: BinaryIO, begin: int, target: str) -> None:
    """Extracts the tar archive that begins at an offset of a file; tar stops at that archive's end."""
    archive.seek(begin)
    command = [*_TAR, "--same-owner", "--preserve-permissions", f"--directory={target}", "--extract", "--file=-"]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, stdin=archive, env=_environment(), timeout=SLOW_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ImageImportFailed(
            f"the copy {archive.name} was not unpacked within {SLOW_SECONDS} s: check whether the disk is slow or "
            "failing"
        ) from None
    if done.returncode:
        raise ImageImportFailed(f"cannot unpack the copy {archive.name}: {_last_line(done.stderr)}")


def _environment() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C"}


def _last_line(output: bytes) -> str:
    return (output.decode(errors="replace").strip().splitlines() or ["tar failed without a message"])[-1][:300]
