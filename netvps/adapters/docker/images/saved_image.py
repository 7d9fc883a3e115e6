"""Archives of images, as `docker save` writes and `docker load` reads them, by their layers."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

import zstandard

from netvps.adapters.docker.content.archive_checks import image_parts
from netvps.adapters.docker.content.tar_members import BLOCK, Member

_PIECE: Final = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image in an archive."""

    path: Path
    config: bytes
    """Its configuration, exactly as its digest needs it."""
    layers: tuple[tuple[str, Member], ...]
    """Digests of their uncompressed content, the lowest first, and where they are."""

    @classmethod
    def read(cls, path: Path) -> SavedImage:
        """Reads what an archive of one image says of it. Raises BadArchive."""
        with path.open("rb") as content:
            config, layers = image_parts(content, path.stat().st_size)
            content.seek(config.offset)
            return cls(path, content.read(config.stored), tuple(layers))

    def open_layer(self, digest: str, offset: int = 0) -> IO[bytes] | None:
        """Opens the uncompressed content of a layer from an offset on; None if the image has no such layer."""
        member = dict(self.layers).get(digest)
        if member is None:
            return None
        archive = self.path.open("rb")
        section = _Section(archive, member.offset, member.stored)
        archive.seek(member.offset)
        begin = archive.read(len(_ZSTD))
        if not begin.startswith((_GZIP, _ZSTD)):
            section.seek(offset)
            return cast("IO[bytes]", section)
        plain: IO[bytes]
        if begin.startswith(_GZIP):
            plain = cast("IO[bytes]", gzip.GzipFile(fileobj=section))
        else:
            plain = cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(cast("BinaryIO", section)))
        while offset and (piece := plain.read(min(offset, _PIECE))):
            offset -= len(piece)
        return plain

    def size(self, digest: str) -> int:
        """Bytes of a layer's uncompressed content."""
        member = dict(self.layers)[digest]
        with self.path.open("rb") as archive:
            archive.seek(member.offset)
            if not archive.read(len(_ZSTD)).startswith((_GZIP, _ZSTD)):
                return member.stored
        total, layer = 0, self.open_layer(digest)
        with layer or io.BytesIO() as content:
            while piece := content.read(_PIECE):
                total += len(piece)
        return total


def load_archive(
    name: str, config: bytes, config_sha256: str, layers: tuple[str, ...], files: Mapping[str, Path]
) -> Iterator[bytes]:  # fmt: skip
    """Yields an archive of an image for `docker load`, with this one name; layers without a file are left out.

    The engine does not look for the file of a layer that it has, below the same other layers.
    """
    names = [f"{digest.removeprefix('sha256:')}/layer.tar" for digest in layers]
    manifest = [{"Config": f"{config_sha256}.json", "RepoTags": [name], "Layers": names}]
    for path, content in ((f"{config_sha256}.json", config), ("manifest.json", json.dumps(manifest).encode())):
        yield _header(path, len(content)) + content + bytes(-len(content) % BLOCK)
    for digest in dict.fromkeys(layers):
        if digest in files:
            size = files[digest].stat().st_size
            yield _header(f"{digest.removeprefix('sha256:')}/layer.tar", size)
            with files[digest].open("rb") as layer:
                while piece := layer.read(_PIECE):
                    yield piece
            yield bytes(-size % BLOCK)
    yield bytes(2 * BLOCK)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.PAX_FORMAT)


class _Section(io.RawIOBase):
    """A part of a file, which closes the file with it."""

    def __init__(self, archive: BinaryIO, begin: int, size: int) -> None:
        self._archive = archive
        self._begin = begin
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        count = max(min(len(buffer), self._size - self._at), 0)
        self._archive.seek(self._begin + self._at)
        piece = self._archive.read(count)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        self._archive.close()
        super().close()
