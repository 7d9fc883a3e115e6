"""A backup in one file: a compressed tar archive that begins with a manifest of its files and checksums.

An archive is not trusted before it is checked: names, types, sizes and digests must match the manifest, and the
manifest cannot name files outside the folder to unpack into.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from netvps.errors import AlreadyExists, ConfigError, DataLoss, Exhausted

_FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_MANIFEST_MAX: Final = 1 << 20
_NAME: Final = re.compile(r"(?!\.)[A-Za-z0-9._-]+(/(?!\.)[A-Za-z0-9._-]+)?")
_PIECE: Final = 1 << 20
_NO_SPACE: Final = 28


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """An archive's manifest: version that made it, time (ISO 8601, UTC), cluster, and files."""

    version: str
    created: str
    cluster_id: str
    entries: tuple[Entry, ...]


def pack(folder: Path, target: Path, *, version: str, created: str, cluster_id: str) -> Manifest:
    """Writes all files of a folder to `target` (0600), atomically.

    Raises AlreadyExists if the file exists, Exhausted if the disk is full, ConfigError if it cannot be written.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = tuple(Entry(str(file.relative_to(folder)), file.stat().st_size, _digest(file)) for file in files)
    manifest = Manifest(version, created, cluster_id, entries)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _written(target):
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as output:
                _write(output, folder, manifest)
                output.flush()
                os.fsync(output.fileno())
            os.link(draft, target)  # unlike a rename, a link replaces nothing
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def unpack(source: Path, folder: Path) -> Manifest:
    """Unpacks an archive into an empty folder, files 0600. Raises ConfigError for a foreign or newer one, DataLoss."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            manifest = _manifest(archive, source)
            wanted = {entry.name: entry for entry in manifest.entries}
            for member in archive:
                if member.name == _MANIFEST:
                    continue
                entry = wanted.pop(member.name, None)
                content = archive.extractfile(member) if member.isreg() else None
                if entry is None or content is None or member.size != entry.size:
                    raise _damaged(source, f"{member.name} does not match its manifest")
                with _written(folder / entry.name):
                    _extract(content, entry, folder / entry.name, source)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise _damaged(source, str(error) or "it is truncated") from None
    except OSError as error:
        raise ConfigError(f"cannot read backup {source}: {error.strerror or error}; give another file") from None
    if wanted:
        raise _damaged(source, f"{min(wanted)} is missing")
    return manifest


def _write(output: IO[bytes], folder: Path, manifest: Manifest) -> None:
    text = json.dumps({"format": _FORMAT} | asdict(manifest), indent=1).encode()
    with tarfile.open(fileobj=output, mode="w:gz", format=tarfile.PAX_FORMAT, compresslevel=6) as archive:
        archive.addfile(_member(_MANIFEST, len(text)), io.BytesIO(text))
        for entry in manifest.entries:
            with (folder / entry.name).open("rb") as content:
                archive.addfile(_member(entry.name, entry.size), content)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _manifest(archive: tarfile.TarFile, source: Path) -> Manifest:
    first = archive.next()
    content = archive.extractfile(first) if first and first.name == _MANIFEST and first.isreg() else None
    if content is None:
        raise ConfigError(f"{source} is not a netvps backup; give another file")
    try:
        found: dict[str, Any] = json.loads(content.read(_MANIFEST_MAX))
        form = found.pop("format")
        entries = tuple(Entry(**entry) for entry in found.pop("entries")) if form == _FORMAT else ()
        manifest = Manifest(**found, entries=entries) if form == _FORMAT else None
        names = [entry.name for entry in entries]
        sound = len(set(names)) == len(names) and all(_NAME.fullmatch(name) for name in names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(source, "its manifest cannot be read") from None
    if manifest is None:
        raise ConfigError(
            f"backup {source} is newer than this program; install the netvps that made it, or a later one",
            reason="NEWER",
        )
    if not sound:
        raise _damaged(source, "its manifest contains invalid file names")
    return manifest


def _extract(content: IO[bytes], entry: Entry, target: Path, source: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    digest = hashlib.sha256()
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as output:
        while piece := content.read(_PIECE):
            digest.update(piece)
            output.write(piece)
        output.flush()
        os.fsync(output.fileno())
    if digest.hexdigest() != entry.sha256:
        raise _damaged(source, f"the checksum of {entry.name} does not match")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _damaged(source: Path, why: str) -> DataLoss:
    return DataLoss(f"backup {source} is damaged, {why}; use another one; nothing was changed")


@contextmanager
def _written(target: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise AlreadyExists(f"{target} exists already; give another name, or remove it") from None
    except OSError as error:
        if error.errno == _NO_SPACE:
            raise Exhausted(f"{target}: the disk is full; free space and try again") from None
        raise ConfigError(f"cannot write {target}: {error.strerror}; give another name") from None
