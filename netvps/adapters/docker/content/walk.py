"""Walks the folder in which overlayfs keeps what a container wrote, and looks paths up in the image below.

The container may run and change the folder meanwhile, so no name is looked up twice: each folder is opened relative to
the one above, and never through a link. The image's layers do not change.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from netvps.domain.snapshot.diff import Trait

MAX_ENTRIES: Final = 2_000_000
MAX_SECONDS: Final = 20.0
"""A call of the API takes 30 s at most."""
_MAX_DEPTH: Final = 128
"""Open folders at once. Deeper ones are left out, and noted."""
_BLOCK: Final = 512
_LOOK_EVERY: Final = 256
_OPAQUE: Final = "trusted.overlay.opaque"
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Found:
    """A path with what was found there."""

    path: str
    """As in the session, "/a/b"."""
    trait: Trait
    is_folder: bool = False
    opaque: bool = False
    """It is a folder that replaces the image's."""
    names: tuple[str, ...] = ()
    """What is in it, if it is opaque."""


class Walk:
    """One walk, which ends early if it takes too long."""

    def __init__(self, seconds: float = MAX_SECONDS, entries: int = MAX_ENTRIES) -> None:
        self._deadline = time.monotonic() + seconds
        self._left = entries
        self._visited = 0
        self._linked: set[tuple[int, int]] = set()
        self.incomplete = False
        """Something was left out."""

    def below(self, root: str, at: str = "") -> Iterator[Found]:
        """Yields what is below a folder, which is `at` in the session ("" for "/")."""
        stack: list[tuple[int, str, list[str]]] = []
        try:
            self._enter(stack, os.open(root, _FLAGS), at)
            while stack:
                folder, path, names = stack[-1]
                if not names:
                    os.close(folder)
                    stack.pop()
                    continue
                if self._is_over():
                    return
                with suppress(OSError):  # it went, or was replaced, meanwhile
                    yield from self._visit(stack, folder, f"{path}/{names[-1]}", names.pop())
        finally:
            for folder, _, _ in stack:
                os.close(folder)

    def _visit(self, stack: list[tuple[int, str, list[str]]], folder: int, path: str, name: str) -> Iterator[Found]:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else ""
            yield Found(path, self._trait(status, target))
            return
        if len(stack) >= _MAX_DEPTH:
            self.incomplete = True
            return
        inner = os.open(name, _FLAGS, dir_fd=folder)
        opaque = False
        with suppress(OSError):
            opaque = os.getxattr(inner, _OPAQUE) == b"y"
        self._enter(stack, inner, path)
        names = tuple(stack[-1][2]) if opaque else ()
        yield Found(path, self._trait(status, ""), is_folder=True, opaque=opaque, names=names)

    def _enter(self, stack: list[tuple[int, str, list[str]]], folder: int, path: str) -> None:
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in islice(entries, self._left + 1)]
        except BaseException:
            os.close(folder)
            raise
        names.sort(reverse=True)
        stack.append((folder, path, names))

    def _is_over(self) -> bool:
        late = self._visited % _LOOK_EVERY == 0 and time.monotonic() > self._deadline
        over = late or self._left <= 0
        self._left -= 1
        self._visited += 1
        self.incomplete |= over
        return over

    def _trait(self, status: os.stat_result, target: str) -> Trait:
        size = status.st_blocks * _BLOCK
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in self._linked:
                size = 0
            self._linked.add((status.st_dev, status.st_ino))
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        return make_trait(
            status.st_mode,
            (status.st_uid, status.st_gid),
            size,
            apparent=status.st_size,
            mtime_ns=status.st_mtime_ns,
            target=target,
            device=device,
        )


class Below:
    """The image below a container: its layers' folders, the topmost first."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = tuple(layers)
        self._last: tuple[str, tuple[str, ...]] = ("", self._layers)

    def has(self, path: str) -> bool:
        """Whether the image has a path, "/a/b"."""
        parent, _, name = path.rpartition("/")
        return self._status(self._folder(parent), name) is not None

    def names(self, path: str) -> set[str]:
        """Names in a folder of the image."""
        folders = self._folder(path)
        names: set[str] = set()
        for folder in folders:
            with suppress(OSError):
                names.update(entry.name for entry in Path(folder).iterdir())
        return {name for name in names if self._status(folders, name) is not None}

    def same_folder(self, path: str, mark: tuple[object, ...]) -> bool:
        """Whether the image has a folder there with the same owner and mode."""
        parent, _, name = path.rpartition("/")
        status = self._status(self._folder(parent), name)
        return status is not None and folder_mark(status.st_mode, (status.st_uid, status.st_gid)) == mark

    def _folder(self, path: str) -> tuple[str, ...]:
        """The folders that overlayfs merges at a path."""
        if self._last[0] == path:
            return self._last[1]
        folders = self._layers
        for name in path.split("/")[1:] if path else ():
            folders = self._inside(folders, name)
        self._last = path, folders
        return folders

    @staticmethod
    def _inside(folders: Sequence[str], name: str) -> tuple[str, ...]:
        merged: list[str] = []
        for folder in folders:
            path = f"{folder}/{name}"
            try:
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    break
            except OSError:
                continue
            merged.append(path)
            with suppress(OSError):
                if os.getxattr(path, _OPAQUE, follow_symlinks=False) == b"y":
                    break
        return tuple(merged)

    @staticmethod
    def _status(folders: Sequence[str], name: str) -> os.stat_result | None:
        for folder in folders:
            with suppress(OSError):
                status = os.lstat(f"{folder}/{name}")
                return None if is_whiteout(status) else status
        return None


def is_excluded(path: str, excluded: Sequence[str]) -> bool:
    """Whether a path is below one of those that are excluded. The excluded folder itself is not."""
    return any(path.startswith(f"{one}/") for one in excluded)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether a path in a layer deletes that of the layers below."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_trait(
    mode: int,
    owner: tuple[int, int],
    size: int,
    *,
    apparent: int,
    mtime_ns: int,
    target: str = "",
    device: tuple[int, int] = (0, 0),
) -> Trait:
    """What is compared of a path."""
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR:
        return Trait(size, folder_mark(mode, owner), folder=True)
    if kind == stat.S_IFCHR and device == (0, 0):
        return Trait(0, gone=True)
    if kind == stat.S_IFLNK:
        return Trait(size, (kind, owner, target))
    content = (apparent, mtime_ns) if kind == stat.S_IFREG else device
    return Trait(size, (kind, stat.S_IMODE(mode), owner, content))


def folder_mark(mode: int, owner: tuple[int, int]) -> tuple[object, ...]:
    """What is compared of a folder: its time changes with what is inside."""
    return stat.S_IFDIR, stat.S_IMODE(mode), owner
