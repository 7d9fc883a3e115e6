"""Writes the portable archive of a snapshot, piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
import tarfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import zstandard

from netvps.adapters.docker.client import Api, Docker
from netvps.adapters.docker.content.tar_members import BLOCK
from netvps.adapters.docker.errors import ImageExportFailed
from netvps.adapters.docker.files.archives import Archives, GivenUp, Note, own_errors
from netvps.adapters.docker.files.snapshot_archives import SnapshotArchives
from netvps.adapters.docker.stream import iterate
from netvps.domain.pieces import pieces
from netvps.domain.snapshot.archive import Blob, SnapshotArchive, blob_name, documents
from netvps.domain.snapshot.exchange import ExportOrder
from netvps.errors import DataLoss

_LEVEL: Final = 3
"""Of zstd: faster than a disk, and close to gzip's best in size."""
_PIECE: Final = 1 << 20


class Exports:
    """Exports snapshots."""

    def __init__(self, docker: Docker, archives: Archives, snapshots: SnapshotArchives) -> None:
        self._docker = docker
        self._archives = archives
        self._snapshots = snapshots

    async def read(self, session_uid: str, order: ExportOrder) -> AsyncGenerator[bytes, None]:
        """Yields the archive in pieces of at most 64 KiB.

        Raises ImageNotFound without the snapshot, DiskFull where its image has to be saved first, and DataLoss if the
        stored files are damaged: then what came before must not be used.
        """
        note, path = await asyncio.to_thread(self._snapshots.content, session_uid, order.snapshot_uid)
        given_up = _Flag()
        try:
            about = await self._docker.call_slowly(
                f"image {note.image}", partial(self._about, note=note, path=path, order=order, given_up=given_up)
            )
            image = self._archives.image_file(note.image) if about.image_blob else None
            name = f"export of {order.snapshot_uid}"
            async with aclosing(iterate(lambda: _Pieces(about, path, image), name)) as found:
                async for piece in found:
                    yield piece
        finally:
            given_up.set()

    def _about(
        self, api: Api, *, note: Note, path: Path, order: ExportOrder, given_up: Callable[[], bool]
    ) -> SnapshotArchive:
        """What the archive says of itself; the image is saved for it, unless a registry has it."""
        with own_errors("cannot export the snapshot", ImageExportFailed):
            image_blob = None
            if not note.registry:
                saved = self._archives.image_file(note.image)
                if not saved.exists():
                    self._archives.load(api, note)
                    self._archives.save_image(api, note.image, given_up)
                image_blob = _blob(saved, given_up)
            files = Blob(f"sha256:{note.sha256}", path.stat().st_size)
            return SnapshotArchive(
                id=order.snapshot_id,
                session=order.session,
                architecture=str(api.version()["Arch"]),
                image=note.image,
                registry=note.registry,
                files=files,
                image_blob=image_blob,
                create_time=note.create_time,
                size_bytes=note.size_bytes,
                volumes=note.volumes,
                warnings=note.warnings,
            )


class _Flag:
    """Tells a thread that its work is not needed any more."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def __call__(self) -> bool:
        return self._is_set


class _Pieces:
    """The compressed archive, for one reading thread. The files are open from the beginning: they may be removed."""

    def __init__(self, about: SnapshotArchive, files: Path, image: Path | None) -> None:
        self._about = about
        self._closed = False
        self._stack = ExitStack()
        opened = [(about.files, files), *([(about.image_blob, image)] if about.image_blob and image else [])]
        self._blobs = [(blob, self._stack.enter_context(path.open("rb"))) for blob, path in opened]

    def __iter__(self) -> Iterator[bytes]:
        with self._stack:
            compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
            for plain in self._plain():
                if self._closed:
                    return
                yield from pieces(compressor.compress(plain))
            yield from pieces(compressor.flush())

    def close(self) -> None:
        self._closed = True

    def _plain(self) -> Iterator[bytes]:
        for name, content in documents(self._about):
            yield _header(name, len(content)) + content + _padding(len(content))
        for blob, opened in self._blobs:
            yield _header(blob_name(blob), blob.size)
            yield from _checked(blob, opened)
            yield _padding(blob.size)
        yield bytes(2 * BLOCK)


def _checked(blob: Blob, content: BinaryIO) -> Iterator[bytes]:
    """The content of a blob. Raises DataLoss before the last piece is followed by anything, if it is damaged."""
    digest, left = hashlib.sha256(), blob.size
    while left and (piece := content.read(min(_PIECE, left))):
        digest.update(piece)
        left -= len(piece)
        yield piece
    if left or f"sha256:{digest.hexdigest()}" != blob.digest:
        raise DataLoss(
            "the snapshot's files on the runner are damaged: their checksum does not match; delete it, and use another"
        )


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _blob(path: Path, given_up: Callable[[], bool]) -> Blob:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as content:
        while piece := content.read(_PIECE):
            if given_up():
                raise GivenUp
            digest.update(piece)
            size += len(piece)
    return Blob(f"sha256:{digest.hexdigest()}", size)
