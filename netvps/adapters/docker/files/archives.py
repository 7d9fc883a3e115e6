"""Archives of what containers wrote, and of the images below, in a folder that Docker does not know.

GNU tar makes one of a container's overlayfs upper folder, then of each volume, end to end, with all that an image
cannot hold: ACLs, extended attributes, hard links, holes, nanoseconds, files named ".wh.…". The image below is saved
once for all archives that stand on it, unless a registry has it. Each archive has a note beside it, written last:
without it, it is no archive.

    FOLDER/UID.json, FOLDER/UID-HASH.tar                   the copy of a session
    FOLDER/snapshots/UID-SNAPSHOT.json, …-SNAPSHOT.tar     a snapshot of a session; may be the same file as the copy
    FOLDER/images/HEX.tar                                  an image, as `docker save` writes it
    FOLDER/incoming/SHA256.part                            a part of a snapshot of another runner, on its way here
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import docker.errors
import requests.exceptions
import structlog

from netvps.adapters.docker.client import SLOW_SECONDS, Answer, Api, disk_free
from netvps.adapters.docker.containers.containers import files_folder
from netvps.adapters.docker.errors import DiskFull, DockerError, ImageExportFailed, ImageImportFailed, ImageNotFound
from netvps.adapters.docker.files.volumes import clear, volume_folders
from netvps.adapters.docker.files.written import survey
from netvps.domain.session.container import Container
from netvps.errors import DataLoss

log = structlog.get_logger()

_TAR: Final = ("tar", "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--sparse")
# overlayfs records these about the layers below, by inode numbers that a restored image does not have.
_BOUND: Final = tuple(
    f"--xattrs-exclude=trusted.overlay.{name}" for name in ("origin", "impure", "nlink", "upper", "uuid")
)
_PIECE: Final = 1 << 20
_MIB: Final = 1 << 20
_SPARE_BYTES: Final = 64 << 20
_LOOK_EVERY: Final = 64
"""Pieces between checks of the free space."""
_SETTLED_SECONDS: Final = 3600
"""A younger image archive may belong to a copy that another process is making."""


class GivenUp(Exception):
    """The copy is not needed any more."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of an archive."""

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
    size_bytes: int = 0
    """Blocks in use by what the container wrote."""
    warnings: tuple[str, ...] = ()
    """What is missing, for people."""
    excluded: tuple[str, ...] = ()
    """Paths that were left out, as the session asks."""


class Archives:
    """The archives in `folder`, which is created when needed. Methods block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._saving = threading.Lock()

    def read_note(self, path: Path) -> Note | None:
        """Reads the note of an archive; None if one of the two is missing or damaged."""
        try:
            said: Answer = json.loads(path.read_bytes())
            lists = {name: tuple(said.get(name, ())) for name in ("warnings", "excluded")}
            note = Note(**said | lists)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("cannot read the note of an archive", file=str(path), error=str(error))
            return None
        return note if (path.parent / note.archive).exists() else None

    def write_note(self, path: Path, note: Note, given_up: Callable[[], bool]) -> None:
        """Writes the note of an archive that is complete."""
        content = json.dumps({name: getattr(note, name) for name in Note.__slots__}).encode()
        self.store([content], path, given_up)

    def pack(
        self,
        api: Api,
        session_uid: str,
        container: Container,
        archive: Path,
        given_up: Callable[[], bool],
        *,
        excluded: Collection[str] = (),
    ) -> Note:
        """Archives what a container wrote, with its volumes; nothing may write meanwhile.

        What is below the paths `excluded` is left out.

        Raises DiskFull, ImageExportFailed, GivenUp.
        """
        folders = {"": container.files} | volume_folders(api, session_uid, container.id)
        archive.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        size = sum(survey(folder).blocks for folder in folders.values())
        self.need(size)
        registry = (self._below(api, container.image).get("RepoDigests") or [""])[0]
        begins: dict[str, int] = {}
        sha256 = self.store(_joined(folders, begins, excluded), archive, given_up)
        del begins[""]
        now = datetime.now(UTC).isoformat()
        return Note(
            container.run,
            container.image,
            registry,
            archive.name,
            sha256,
            now,
            begins,
            size,
            warnings=_left_out(excluded),
            excluded=tuple(excluded),
        )

    def unpack(self, api: Api, note: Note, archive: Path, container_id: str) -> None:
        """Extracts the files of an archive into a container that never ran, without its volumes.

        Raises DataLoss if the archive is damaged.
        """
        upper = files_folder(api.inspect_container(container_id))
        if not upper:
            raise ImageImportFailed(
                "Docker's folder of the container is not accessible; run the runner as root on the host"
            )
        with own_errors(f"cannot unpack the copy {archive}", ImageImportFailed), archive.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != note.sha256:
                raise DataLoss(f"the copy {archive} is damaged: its checksum does not match; nothing was started")
            _extract(content, 0, upper)

    def unpack_volumes(
        self, api: Api, *, session_uid: str, note: Note, archive: Path, container_id: str, volumes: Collection[str]
    ) -> None:
        """Replaces the files in these volumes (paths) of a session's container by those in a checked archive."""
        folders = volume_folders(api, session_uid, container_id)
        with own_errors(f"cannot unpack the copy {archive}", ImageImportFailed), archive.open("rb") as content:
            for path in volumes:
                clear(folders[path])  # Docker fills a new volume with the image's files
                _extract(content, note.volumes[path], folders[path])

    def save_image(self, api: Api, image_id: str, given_up: Callable[[], bool]) -> None:
        """Saves the image below an archive, unless that was done before."""
        target = self.image_file(image_id)
        with self._saving:  # many sessions may share one image
            if not target.exists():
                target.parent.mkdir(exist_ok=True, mode=0o700)
                self.need(int(api.inspect_image(image_id)["Size"]))
                self.store(api.get_image(image_id, chunk_size=_PIECE), target, given_up)

    def adopt_image(self, received: Path, image_id: str) -> None:
        """Keeps a checked archive of an image, unless there is one."""
        target = self.image_file(image_id)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        with self._saving:
            if target.exists():
                os.utime(target)  # it is needed soon, though no note says so yet
            else:
                os.utime(received)
                received.rename(target)

    def load(self, api: Api, note: Note) -> str | None:
        """Loads the image below an archive if it was saved here: returns None, or else the name to pull."""
        with suppress(docker.errors.ImageNotFound):
            api.inspect_image(note.image)
            return None
        if note.registry:
            return note.registry
        self._load(api, note.image)
        return None

    def with_digest(self, sha256: str) -> list[Path]:
        """The archives that should have this SHA-256, by their notes. Reads a small file for each archive."""
        found = []
        for path in (*self.folder.glob("*.json"), *self.folder.glob("snapshots/*.json")):
            note = self.read_note(path)
            if note and note.sha256 == sha256:
                found.append(path.parent / note.archive)
        return found

    def need(self, size: int) -> None:
        """Raises DiskFull unless the disk can hold `size` more bytes."""
        free = disk_free(str(self.folder))
        if free is not None and size + _SPARE_BYTES > free:
            raise DiskFull(
                f"the copy of the session's files needs {(size + _SPARE_BYTES) // _MIB} MiB and {free // _MIB} MiB "
                "are free "
                f"in {self.folder}: free space there"
            )

    def store(self, pieces: Iterable[bytes], target: Path, given_up: Callable[[], bool]) -> str:
        """Writes a file atomically; returns its SHA-256."""
        draft = target.with_name(f"{target.name}.{os.getpid()}.part")
        digest = hashlib.sha256()
        try:
            with open(draft, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
                for number, piece in enumerate(pieces):
                    if given_up():
                        raise GivenUp
                    if number % _LOOK_EVERY == 0:
                        self.need(0)
                    digest.update(piece)
                    output.write(piece)
                output.flush()
                os.fsync(output.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return digest.hexdigest()

    def drop_images(self) -> None:
        """Removes saved images that no archive stands on."""
        notes = (*self.folder.glob("*.json"), *self.folder.glob("snapshots/*.json"))
        used = {note.image for path in notes if (note := self.read_note(path))}
        for archive in (self.folder / "images").glob("*"):  # also incomplete files of a crash
            with suppress(FileNotFoundError):
                settled = time.time() - archive.stat().st_mtime > _SETTLED_SECONDS
                if settled and f"sha256:{archive.name.removesuffix('.tar')}" not in used:
                    archive.unlink()

    def _below(self, api: Api, image_id: str) -> Answer:
        """Inspects the image of a container; first loads it, if it was removed by force and is saved here."""
        try:
            found: Answer = api.inspect_image(image_id)
        except docker.errors.ImageNotFound:
            self._load(api, image_id)
            found = api.inspect_image(image_id)
        return found

    def _load(self, api: Api, image_id: str) -> None:
        try:
            with self.image_file(image_id).open("rb") as archive:
                list(api.load_image(archive))
        except FileNotFoundError:
            raise ImageNotFound(
                f"image {image_id} is neither in Docker nor in {self.folder}; load it again (docker load)"
            ) from None

    def image_file(self, image_id: str) -> Path:
        """The archive of an image."""
        return self.folder / "images" / f"{image_id.removeprefix('sha256:')}.tar"


@contextmanager
def own_errors(what: str, otherwise: type[DockerError]) -> Iterator[None]:
    """Maps errors of our own files and programs; those of the engine's library, which are OSErrors, too, pass."""
    try:
        yield
    except requests.exceptions.RequestException:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull(f"{what}: the disk of the runner's state folder is full; free space") from None
        raise otherwise(f"{what}: {error.strerror or error} ({error.filename})") from None


def _left_out(excluded: Collection[str]) -> tuple[str, ...]:
    return (f"it leaves out what is below {', '.join(excluded)}, as the session asks",) if excluded else ()


def _joined(folders: Mapping[str, str], begins: dict[str, int], excluded: Collection[str]) -> Iterator[bytes]:
    """Yields a tar archive of each folder, end to end; sets `begins` to where each begins, by the folder's key."""
    size = 0
    for key, folder in folders.items():
        begins[key] = size
        inside = [path.removeprefix(key) for path in excluded if path.startswith(f"{key}/")]
        if key in excluded:
            inside = [""]
        for piece in _packed(folder, inside):
            size += len(piece)
            yield piece


def _packed(folder: str, excluded: Collection[str]) -> Iterator[bytes]:
    """Yields a tar archive of a folder, without what is below the paths `excluded` in it.

    Raises ImageExportFailed at its end if it is incomplete.
    """
    without = ["--anchored", *(f"--exclude=.{path}/*" for path in excluded)] if excluded else []
    command = [*_TAR, *_BOUND, *without, "--format=posix", f"--directory={folder}", "--create", "--file=-", "."]
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
