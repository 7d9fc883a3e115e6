"""What differs between two states of a session's files: paths, biggest first, and sums by folder; pure.

Memory is bounded, whatever a session holds: only the biggest paths are kept, and folders are summed up at one depth.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from netvps.domain.checks import Checks

MAX_PATHS: Final = 1000
DEFAULT_PATHS: Final = 50
MAX_DEPTH: Final = 16
DEFAULT_DEPTH: Final = 2
_MAX_FOLDERS: Final = 20_000
"""Folders that are summed up at once; what is in others is counted only."""


class ChangeKind(StrEnum):
    """How a path differs; the values are those of the API."""

    ADDED = "ADDED"
    CHANGED = "CHANGED"
    REMOVED = "REMOVED"


@dataclass(frozen=True, slots=True)
class PathChange:
    """One path that differs; its size in bytes on the disk."""

    path: str
    kind: ChangeKind
    size_bytes: int = 0
    excluded: bool = False
    """A snapshot leaves it out."""


@dataclass(frozen=True, slots=True)
class FolderChange:
    """What differs below a folder."""

    path: str
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Count:
    """A number of paths, and their bytes on the disk."""

    count: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs; `incomplete` if the comparison ended early, so that all counts are lower bounds."""

    paths: tuple[PathChange, ...] = ()
    folders: tuple[FolderChange, ...] = ()
    added: Count = Count()
    changed: Count = Count()
    removed: Count = Count()
    excluded: Count = Count()
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class DiffScope:
    """How much of a difference is listed; 0 is the default. Raises InvalidInput with all violations."""

    max_paths: int = 0
    folder_depth: int = 0

    def __post_init__(self) -> None:
        checks = Checks()
        for name, value, most in (
            ("max_paths", self.max_paths, MAX_PATHS),
            ("folder_depth", self.folder_depth, MAX_DEPTH),
        ):
            checks.require(0 <= value <= most, name, f"{value} is not between 1 and {most} (0: the default)")
        checks.done()

    @property
    def paths(self) -> int:
        """Maximum number of paths, and of folders."""
        return self.max_paths or DEFAULT_PATHS

    @property
    def depth(self) -> int:
        """The depth at which folders are summed up."""
        return self.folder_depth or DEFAULT_DEPTH


@dataclass(frozen=True, slots=True)
class DiffOrder:
    """A comparison that a runner makes."""

    from_uid: str
    """Uid of the snapshot to compare from; '' for the image."""
    to_uid: str
    """Uid of the snapshot to compare with; '' for the present state."""
    scope: DiffScope
    excluded: tuple[str, ...] = ()
    """Paths that snapshots of the session leave out."""


@dataclass(frozen=True, slots=True)
class Trait:
    """What is compared of one path."""

    size_bytes: int
    """Bytes on the disk."""
    mark: tuple[object, ...] = ()
    """Type, owner, mode, apparent size, time, target: equal if the path did not change."""
    gone: bool = False
    """It deletes the image's path."""
    folder: bool = False
    """A folder of the image appears in a state with the first change inside of it."""


_EXCLUDED: Final = "excluded"


class Tally:
    """Sums up changes one by one."""

    def __init__(self, scope: DiffScope) -> None:
        self._scope = scope
        self._number = 0
        self._biggest: list[tuple[int, int, PathChange]] = []
        self._folders: dict[str, tuple[int, int]] = {}
        self._counts = dict.fromkeys((*ChangeKind, _EXCLUDED), Count())

    def add(self, change: PathChange) -> None:
        """Counts a change. What is excluded is counted apart, and in no folder."""
        key = _EXCLUDED if change.excluded else change.kind
        so_far = self._counts[key]
        self._counts[key] = Count(so_far.count + 1, so_far.size_bytes + change.size_bytes)
        self._number += 1
        entry = (change.size_bytes, -self._number, change)  # of equal ones the first; changes are not compared
        if len(self._biggest) < self._scope.paths:
            heapq.heappush(self._biggest, entry)
        elif entry > self._biggest[0]:
            heapq.heapreplace(self._biggest, entry)
        if not change.excluded:
            self._add_to_folder(change)

    def result(self, *, incomplete: bool) -> Diff:
        """All changes so far."""
        folders = [FolderChange(path, *sums) for path, sums in self._folders.items()]
        folders.sort(key=lambda one: (-one.size_bytes, -one.count, one.path))
        biggest = sorted((change for _, _, change in self._biggest), key=lambda one: (-one.size_bytes, one.path))
        counts = self._counts
        return Diff(
            tuple(biggest),
            tuple(folders[: self._scope.paths]),
            counts[ChangeKind.ADDED],
            counts[ChangeKind.CHANGED],
            counts[ChangeKind.REMOVED],
            counts[_EXCLUDED],
            incomplete,
        )

    def _add_to_folder(self, change: PathChange) -> None:
        parts = change.path.split("/")[1:-1][: self._scope.depth]
        folder = "/" + "/".join(parts)
        if folder not in self._folders and len(self._folders) >= _MAX_FOLDERS:
            return
        count, size = self._folders.get(folder, (0, 0))
        self._folders[folder] = count + 1, size + change.size_bytes


def compare(
    before: Mapping[str, Trait], after: Mapping[str, Trait], in_image: Callable[[str], bool], tally: Tally
) -> None:
    """Adds what differs between two states, given what each holds over the same image."""
    for path, trait in after.items():
        earlier = before.get(path)
        if trait.gone:
            if earlier is None or not earlier.gone:
                tally.add(PathChange(path, ChangeKind.REMOVED))
        elif (earlier is None and not in_image(path)) or (earlier is not None and earlier.gone):
            tally.add(PathChange(path, ChangeKind.ADDED, trait.size_bytes))
        elif (earlier is None and not trait.folder) or (earlier is not None and earlier.mark != trait.mark):
            tally.add(PathChange(path, ChangeKind.CHANGED, trait.size_bytes))
    for path in before.keys() - after.keys():
        back = before[path].gone  # the image's path is visible again
        tally.add(PathChange(path, ChangeKind.ADDED if back else ChangeKind.REMOVED))
