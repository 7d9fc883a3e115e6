"""Sends snapshots to other runners, and receives theirs: the archive unchanged, and the image below it.

A received part grows in FOLDER/incoming/DIGEST.part, so a transfer that was interrupted goes on where it ended, also
after a restart. It gets its final name once it is complete, has its digest, and is on disk; the note is written last.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from netvps.adapters.docker.errors import ImageExportFailed, ImageImportFailed, ImageNotFound
from netvps.adapters.docker.files.archives import Archives, Note, own_errors
from netvps.adapters.docker.files.images import Images
from netvps.adapters.docker.files.incoming import Incoming
from netvps.domain.snapshot.copies import CopyPart, MissingPart
from netvps.errors import DataLoss
from netvps.faults import fault_point
from netvps.files import sync_folder

PIECE: Final = 256 * 1024
"""Bytes read and sent at once."""
_VERSION: Final = 1
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_IMAGE: Final = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE: Final = re.compile(r"([a-z0-9][A-Za-z0-9._\-/:@]{0,254})?")
_MAX_TEXT, _MAX_ITEMS, _MAX_SIZE = 500, 64, 1 << 50


@dataclass(frozen=True, slots=True)
class Arrival:
    """A snapshot that is being received."""

    session: str
    snapshot: str
    note: Note
    files_size: int
    image_sha256: str
    """Of the file with the image; '' if a registry has it."""
    image_size: int


class Snapshots(Protocol):
    """Where the snapshots are. Methods block."""

    def note(self, session_uid: str, uid: str, /) -> Note | None:
        """The note of a complete snapshot; None if it is not here."""

    def archive(self, session_uid: str, uid: str, /) -> Path:
        """The file of a snapshot, whether it exists or not."""

    def put_note(self, session_uid: str, uid: str, note: Note, /) -> None:
        """Makes an archive that is complete a snapshot."""

    def drop(self, session_uid: str, uid: str, /) -> None:
        """Removes a snapshot, complete or not; idempotent."""


class Travelling:
    """The snapshots of this machine on their way from and to others."""

    def __init__(self, archives: Archives, snapshots: Snapshots, images: Images | None) -> None:
        """`images` None: there is no Docker here."""
        self._archives = archives
        self._images = images
        self._snapshots = snapshots
        self._incoming = Incoming(archives.folder / "incoming")
        self._digests: dict[Path, tuple[int, int, str]] = {}
        """Digests of images that were sent: modification time, size, SHA-256."""

    async def describe(self, session: str, snapshot: str) -> bytes:
        """The description of a snapshot that is here. Raises ImageNotFound if it is not, or not its image."""
        return await asyncio.to_thread(self._describe, session, snapshot)

    async def read(self, session: str, snapshot: str, part: CopyPart, offset: int) -> AsyncGenerator[bytes, None]:
        """Yields a part of a snapshot from an offset on. Raises ImageNotFound, ImageExportFailed."""
        if part is CopyPart.NOTE:
            yield await self.describe(session, snapshot)
            return
        content = await asyncio.to_thread(self._open, session, snapshot, part, offset)
        try:
            while piece := await asyncio.to_thread(_read, content):
                yield piece
        finally:
            content.close()

    async def arriving(self, session: str, snapshot: str, description: bytes) -> Arrival:
        """Parses the description that another runner sent. Raises DataLoss if it is damaged."""
        return parse_description(session, snapshot, description)

    async def missing(self, arrival: Arrival) -> list[MissingPart]:
        """The parts that have to be transferred. What this machine has under the same digest is used."""
        with own_errors("cannot use what is here of the snapshot", ImageImportFailed):
            return await asyncio.to_thread(self._missing, arrival)

    async def receive(
        self, arrival: Arrival, part: CopyPart, pieces: AsyncIterator[bytes], progress: Callable[[int], None]
    ) -> None:
        """Appends to a part until it is complete; `progress` gets the bytes of each piece.

        Raises DataLoss if it has not the digest of its description; then nothing of it is kept. Raises DiskFull.
        """
        sha256, size = part_of(arrival, part)
        what = f"the {part.lower()} of the snapshot"
        with own_errors("cannot store the snapshot", ImageImportFailed):
            path = await self._incoming.receive(sha256, size, pieces, progress, what)
            await asyncio.to_thread(self._place, arrival, part, path)

    async def provide_image(self, arrival: Arrival) -> None:
        """Pulls the image below a snapshot if a registry has it, so that a start needs no registry.

        Raises ImageNotFound, ImageForbidden, RegistryUnavailable.
        """
        if self._images and arrival.note.registry and await self._images.find(arrival.note.image) is None:
            await self._images.pull(arrival.note.registry, lambda _: None)
            if await self._images.find(arrival.note.image) is None:
                raise ImageNotFound(f"{arrival.note.registry} is not the image {arrival.note.image} below the snapshot")

    async def drop(self, session: str, snapshot: str) -> None:
        """Removes a snapshot, complete or not; idempotent."""
        await asyncio.to_thread(self._snapshots.drop, session, snapshot)
        await asyncio.to_thread(self.discard_abandoned)

    async def finish(self, arrival: Arrival) -> None:
        """Makes what was received a snapshot of this machine; it is on disk when this returns."""
        with own_errors("cannot store the snapshot", ImageImportFailed):
            await asyncio.to_thread(self._finish, arrival)

    def is_here(self, session: str, snapshot: str) -> bool:
        """Whether a snapshot is complete here. Reads a small file."""
        return self._snapshots.note(session, snapshot) is not None

    def discard_abandoned(self) -> None:
        """Removes parts that nothing was added to for a day. Blocks."""
        self._incoming.discard_abandoned()

    def _describe(self, session: str, snapshot: str) -> bytes:
        note = self._snapshots.note(session, snapshot)
        if note is None:
            raise ImageNotFound(f"snapshot {snapshot} is not on this machine")
        said: dict[str, Any] = {name: getattr(note, name) for name in Note.__slots__}
        said |= {"version": _VERSION, "image_sha256": "", "image_size": 0}
        with own_errors("cannot read the snapshot", ImageExportFailed):
            said["files_size"] = self._snapshots.archive(session, snapshot).stat().st_size
            if not note.registry:
                image = self._archives.image_file(note.image)
                said["image_sha256"], said["image_size"] = self._digest(image), image.stat().st_size
        return json.dumps(said).encode()

    def _digest(self, path: Path) -> str:
        status = path.stat()
        known = self._digests.get(path)
        if known is None or known[:2] != (status.st_mtime_ns, status.st_size):
            with path.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            self._digests = {kept: one for kept, one in self._digests.items() if kept.exists()}
            known = self._digests[path] = (status.st_mtime_ns, status.st_size, found)
        return known[2]

    def _open(self, session: str, snapshot: str, part: CopyPart, offset: int) -> BinaryIO:
        note = self._snapshots.note(session, snapshot)
        if note is None:
            raise ImageNotFound(f"snapshot {snapshot} is not on this machine")
        files = part is CopyPart.FILES
        path = self._snapshots.archive(session, snapshot) if files else self._archives.image_file(note.image)
        with own_errors("cannot read the snapshot", ImageExportFailed):
            content = path.open("rb")
            content.seek(offset)
            return content

    def _missing(self, arrival: Arrival) -> list[MissingPart]:
        self._incoming.prepare()
        found = []
        archive = self._snapshots.archive(arrival.session, arrival.snapshot)
        if not self._use(archive, arrival):
            found.append(MissingPart(CopyPart.FILES, arrival.files_size, self._incoming.have(arrival.note.sha256)))
        if arrival.image_sha256:
            image = self._archives.image_file(arrival.note.image)
            try:
                os.utime(image)  # so that it is not removed as unused before the note names it
            except FileNotFoundError:
                found.append(MissingPart(CopyPart.IMAGE, arrival.image_size, self._incoming.have(arrival.image_sha256)))
        self._archives.need(sum(part.size - part.have for part in found))
        return found

    def _use(self, archive: Path, arrival: Arrival) -> bool:
        """Whether the files are here, complete: received before, or as another snapshot or copy of the same bytes."""
        for path in (archive, *self._archives.with_digest(arrival.note.sha256)):
            with suppress(FileNotFoundError), path.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() == arrival.note.sha256:
                    if path != archive:
                        archive.parent.mkdir(exist_ok=True, mode=0o700)
                        archive.unlink(missing_ok=True)
                        os.link(path, archive)
                    return True
        return False

    def _place(self, arrival: Arrival, part: CopyPart, path: Path) -> None:
        if part is CopyPart.FILES:
            target = self._snapshots.archive(arrival.session, arrival.snapshot)
        else:
            target = self._archives.image_file(arrival.note.image)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        path.replace(target)
        sync_folder(target.parent)

    def _finish(self, arrival: Arrival) -> None:
        archive = self._snapshots.archive(arrival.session, arrival.snapshot)
        sync_folder(archive.parent)  # it may be a link
        fault_point("receive.placed")
        self._snapshots.put_note(arrival.session, arrival.snapshot, replace(arrival.note, archive=archive.name))
        sync_folder(archive.parent)


def part_of(arrival: Arrival, part: CopyPart) -> tuple[str, int]:
    """The SHA-256 and the size of a part."""
    if part is CopyPart.FILES:
        return arrival.note.sha256, arrival.files_size
    return arrival.image_sha256, arrival.image_size


def parse_description(session: str, snapshot: str, description: bytes) -> Arrival:
    """Parses the description of a snapshot at another runner. Raises DataLoss if it is damaged."""
    try:
        said: dict[str, Any] = json.loads(description)
        version = said.pop("version")
        if version != _VERSION:
            raise ImageImportFailed(
                f"the snapshot is of version {version}, and this runner knows {_VERSION}: upgrade the older runner"
            )
        files_size, image_size, image_sha256 = said.pop("files_size"), said.pop("image_size"), said.pop("image_sha256")
        note = Note(**said | {"warnings": tuple(said["warnings"])})
        sound = (
            _DIGEST.fullmatch(note.sha256)
            and _IMAGE.fullmatch(note.image)
            and _REFERENCE.fullmatch(note.registry)
            and (_DIGEST.fullmatch(image_sha256) or (image_sha256 == "" and note.registry))
            and all(0 <= size < _MAX_SIZE for size in (files_size, image_size, note.size_bytes))
            and len(note.volumes) <= _MAX_ITEMS
            and all(path.startswith("/") and 0 <= begin <= files_size for path, begin in note.volumes.items())
            and len(note.warnings) <= _MAX_ITEMS
            and all(len(text) <= _MAX_TEXT for text in (note.run, note.create_time, *note.warnings))
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataLoss(f"the description of the snapshot is damaged: {error}") from None
    if not sound:
        raise DataLoss("the description of the snapshot is damaged: a field has a value that it cannot have")
    return Arrival(session, snapshot, note, files_size, image_sha256, image_size)


def _read(content: BinaryIO) -> bytes:
    with own_errors("cannot read the snapshot", ImageExportFailed):
        return content.read(PIECE)
