"""Everything that the files of a folder are, as values to compare: what a copy of them must not lose."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from pathlib import Path

_READ = 8 << 20
"""Files with more data are compared by their extents only."""


def manifest(folder: str | Path) -> dict[str, tuple[object, ...]]:
    """Type, mode, owner, device, times in nanoseconds, size, extents, content, attributes and hard links by path.

    Without inode numbers, and without what overlayfs notes about layers below. Sizes of folders are the file system's.
    """
    root, linked = os.fsencode(folder), defaultdict[int, list[bytes]](list)
    paths = sorted(at + b"/" + name for at, *names in os.walk(root) for name in (*names[0], *names[1]))
    for path in paths:
        linked[os.lstat(path).st_ino].append(os.path.relpath(path, root))
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *paths):
        status = os.lstat(path)
        plain = stat.S_ISREG(status.st_mode)
        found[repr(os.path.relpath(path, root))] = (
            oct(status.st_mode), status.st_uid, status.st_gid, status.st_rdev, status.st_mtime_ns,
            0 if stat.S_ISDIR(status.st_mode) else status.st_size,
            _data(path) if plain else (),
            str(Path(os.fsdecode(path)).readlink()) if stat.S_ISLNK(status.st_mode) else "",
            _attributes(path),
            () if stat.S_ISDIR(status.st_mode) else tuple(linked[status.st_ino]),
        )  # fmt: skip
    return found


def _attributes(path: bytes) -> dict[str, bytes]:
    names = (name for name in os.listxattr(path, follow_symlinks=False) if "overlay" not in name)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(names)}


def _data(path: bytes) -> tuple[tuple[int, int, str], ...]:
    """The extents of a file that are no holes: begin, length, and hash."""
    extents = []
    with Path(os.fsdecode(path)).open("rb") as file:
        size, end = os.fstat(file.fileno()).st_size, 0
        while end < size:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # the rest is a hole
                break
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            digest = hashlib.sha256(os.pread(file.fileno(), min(end - begin, _READ), begin)).hexdigest()
            extents.append((begin, end - begin, digest))
    return tuple(extents)
