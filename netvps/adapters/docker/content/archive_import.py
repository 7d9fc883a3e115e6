"""Receives the portable archive of a snapshot, checks all of it, and only then makes it a snapshot."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import zstandard

from netvps.adapters.docker.client import Api, Docker
from netvps.adapters.docker.content.archive_checks import check_files, check_image
from netvps.adapters.docker.content.tar_members import BLOCK, BadArchive, outer_size
from netvps.adapters.docker.errors import ImageImportFailed
from netvps.adapters.docker.files.archives import Archives, Note, own_errors
from netvps.adapters.docker.files.snapshot_archives import SnapshotArchives
from netvps.domain.snapshot.archive import (
    MAX_DOCUMENT,
    Blob,
    SnapshotArchive,
    blob_name,
    parse_config,
    parse_index,
    parse_layout,
    parse_manifest,
    unfit,
)
from netvps.domain.snapshot.saved import SavedSnapshot
from netvps.errors import DataLoss

_MAX_WINDOW: Final = 128 << 20
"""Memory that the archive may make zstd use: its limit without --ultra."""
_WRITE: Final = 128 << 10
_FREE_BYTES: Final = 1 << 30
_MAX_RATIO: Final = 2_000
"""Beyond the first GiB, it may be this many times as large as what was received."""
_MAX_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True)
class Received:
    """A complete archive, whose parts have the digests that it says."""

    about: SnapshotArchive
    files: Path
    image: Path | None


class ArchiveReader:
    """Takes the pieces of an archive, and keeps its parts in a folder. Methods block."""

    def __init__(self, folder: Path, need: Callable[[int], None], architecture: str) -> None:
        """`need` raises DiskFull unless the disk has room for so many bytes."""
        self._folder = folder
        self._need = need
        self._architecture = architecture
        self._buffer = bytearray()
        self._taken = self._made = 0
        self._received: Received | None = None
        self._parser = self._parse()
        next(self._parser)
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        self._output = decompressor.stream_writer(_Sink(self._take), write_size=_WRITE)  # type: ignore[arg-type]

    def feed(self, data: bytes) -> None:
        """Takes a piece. Raises InvalidInput if it is no such archive, DataLoss if it is damaged, DiskFull."""
        self._taken += len(data)
        try:
            self._output.write(data)
        except zstandard.ZstdError:
            if not self._made:
                raise unfit("it is not compressed by zstd, so it is no archive of a snapshot") from None
            raise _damaged("it cannot be decompressed") from None

    def finish(self) -> Received:
        """The complete archive. Raises DataLoss if it is cut off."""
        if self._received is None:
            raise _damaged("it is cut off") if self._made else unfit("it is empty")
        return self._received

    def _take(self, data: bytes) -> None:
        self._made += len(data)
        if self._made > _FREE_BYTES + _MAX_RATIO * self._taken:
            raise unfit(f"it grows to more than {_MAX_RATIO} times its size, as no snapshot does")
        if self._received:
            _require_zeros(data)
            return
        self._buffer += data
        next(self._parser, None)
        if self._received:
            _require_zeros(self._buffer)

    def _parse(self) -> Generator[None, None, None]:
        """Consumes the buffer; yields whenever it needs more."""
        yield
        parse_layout((yield from self._document("oci-layout")))
        manifest = parse_index((yield from self._document("index.json")))
        config, files, image = parse_manifest((yield from self._small(manifest)))
        about = parse_config((yield from self._small(config)), files, image)
        if about.architecture != self._architecture:
            raise unfit(
                f"it is of a session on {about.architecture}, and this runner's machine is {self._architecture}"
            )
        self._need(files.size + (image.size if image else 0))
        paths = []
        for name, blob in (("files", files), ("image", image)):
            if blob:
                paths.append(self._folder / name)
                yield from self._blob(blob, paths[-1])
        if (yield from self._exactly(BLOCK)) != bytes(BLOCK):
            raise unfit("it holds more than its manifest says")
        self._received = Received(about, paths[0], paths[1] if image else None)

    def _document(self, name: str) -> Generator[None, None, bytes]:
        size = yield from self._header(name)
        if size > MAX_DOCUMENT:
            raise unfit(f"{name} in it has {size} bytes, more than {MAX_DOCUMENT}")
        content = yield from self._exactly(size)
        yield from self._exactly(-size % BLOCK)
        return content

    def _small(self, blob: Blob) -> Generator[None, None, bytes]:
        content = yield from self._document(blob_name(blob))
        if len(content) != blob.size or f"sha256:{hashlib.sha256(content).hexdigest()}" != blob.digest:
            raise _damaged(f"the checksum of {blob_name(blob)} does not match")
        return content

    def _blob(self, blob: Blob, target: Path) -> Generator[None, None, None]:
        size = yield from self._header(blob_name(blob))
        if size != blob.size:
            raise _damaged(f"{blob_name(blob)} has not the size that its manifest says")
        digest, left = hashlib.sha256(), size
        with open(target, "xb", opener=_private) as output:
            while left:
                if not self._buffer:
                    yield
                    continue
                piece = bytes(self._buffer[:left])
                del self._buffer[: len(piece)]
                digest.update(piece)
                output.write(piece)
                left -= len(piece)
            output.flush()
            os.fsync(output.fileno())
        if f"sha256:{digest.hexdigest()}" != blob.digest:
            raise _damaged(f"the checksum of {blob_name(blob)} does not match")
        yield from self._exactly(-size % BLOCK)

    def _header(self, name: str) -> Generator[None, None, int]:
        """The size of the member that has to come now."""
        extended = b""
        while True:
            header = yield from self._exactly(BLOCK)
            try:
                found, size, is_extended = outer_size(header, extended)
            except BadArchive as error:
                raise unfit(error.message) from None
            if not is_extended:
                break
            extended = yield from self._exactly(size)
            yield from self._exactly(-size % BLOCK)
        if found != name:
            raise unfit(f"it has {found[:80]!r} where {name[:80]!r} has to be")
        return size

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield
        content = bytes(self._buffer[:size])
        del self._buffer[:size]
        return content


class _Sink:
    """Where zstd writes, in pieces of bounded size."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def write(self, data: bytes) -> int:
        self._take(bytes(data))
        return len(data)


class Imports:
    """Imports snapshots, a few at a time."""

    def __init__(self, docker: Docker, archives: Archives, snapshots: SnapshotArchives) -> None:
        self._docker = docker
        self._archives = archives
        self._snapshots = snapshots
        self._cleared = False
        """What a killed runner left is removed."""
        self._few = asyncio.Semaphore(_MAX_AT_ONCE)

    async def write(self, session_uid: str, uid: str, incoming: AsyncIterator[bytes]) -> SavedSnapshot:
        """Makes a snapshot of an archive, which comes in pieces.

        Raises InvalidInput if it is no such archive or not a safe one, DataLoss if it is damaged, DiskFull. Then
        nothing of it is left.
        """
        async with self._few:
            if not self._cleared:
                self._cleared = True
                await asyncio.to_thread(shutil.rmtree, self._archives.folder / "imports", ignore_errors=True)
            architecture = await self._docker.call("the engine", lambda api: str(api.version()["Arch"]))
            folder = await asyncio.to_thread(self._folder)
            given_up = asyncio.Event()
            try:
                reader = ArchiveReader(folder, self._archives.need, architecture)
                async for piece in incoming:
                    await asyncio.to_thread(_feed, reader, piece)
                received = reader.finish()
                adopt = partial(self._adopt, session_uid, uid, received, given_up.is_set)
                return await self._docker.call_slowly(f"import of {uid}", adopt, ImageImportFailed)
            finally:
                given_up.set()
                await asyncio.to_thread(_remove, folder)

    def _folder(self) -> Path:
        parent = self._archives.folder / "imports"
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Path(tempfile.mkdtemp(dir=parent))

    def _adopt(
        self, session_uid: str, uid: str, received: Received, given_up: Callable[[], bool], _api: Api
    ) -> SavedSnapshot:
        """Checks the parts, and gives them their names."""
        about = received.about
        with own_errors("cannot import the snapshot", ImageImportFailed):
            try:
                check_files(received.files, about.volumes, given_up)
                if received.image:
                    check_image(received.image, about.image)
            except BadArchive as error:
                raise unfit(error.message) from None
            if received.image:
                self._archives.adopt_image(received.image, about.image)
            note = Note(
                run="",
                image=about.image,
                registry=about.registry,
                archive="",
                sha256=about.files.digest.removeprefix("sha256:"),
                create_time=about.create_time,
                volumes=dict(about.volumes),
                size_bytes=about.size_bytes,
                warnings=about.warnings,
            )
            return self._snapshots.adopt_archive(session_uid, uid, received.files, note)


def _feed(reader: ArchiveReader, piece: bytes) -> None:
    with own_errors("cannot receive the archive", ImageImportFailed):
        reader.feed(piece)


def _remove(folder: Path) -> None:
    for path in folder.glob("*"):
        path.unlink(missing_ok=True)
    folder.rmdir()


def _require_zeros(rest: bytes | bytearray) -> None:
    if any(rest):
        raise unfit("something else follows its end")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _damaged(why: str) -> DataLoss:
    return DataLoss(f"the archive is damaged: {why}; copy it again, or export it again")
