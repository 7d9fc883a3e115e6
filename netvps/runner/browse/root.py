"""What is shown: /.snapshots/LABEL/…, read-only. A snapshot is opened at its first use, and one or two stay open."""

from __future__ import annotations

import asyncio
import posixpath
import stat
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeVar

from netvps.domain.snapshot.browse import FOLDER, Entry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from netvps.domain.snapshot.exchange import BrowsedSnapshot
    from netvps.runner.ports import SnapshotReader

T = TypeVar("T")
_OPEN: Final = 2
"""Snapshots that are open: enough to compare two."""
_FOLDER_MODE: Final = stat.S_IFDIR | 0o555


class Root:
    """The snapshots of a session as one tree. Raises OSError for what is not there, and what `browse` raises."""

    def __init__(
        self, snapshots: Sequence[BrowsedSnapshot], browse: Callable[[str], Awaitable[SnapshotReader]]
    ) -> None:
        """`browse` opens a snapshot by its uid."""
        self._snapshots = {one.id: one for one in snapshots}
        self._browse = browse
        self._open: OrderedDict[str, SnapshotReader] = OrderedDict()

    def close(self) -> None:
        """Frees all."""
        while self._open:
            self._open.popitem()[1].close()

    @staticmethod
    def absolute(path: str) -> str:
        """A path without "." and "..", as clients expect of REALPATH; no link is followed."""
        return posixpath.normpath(f"/{path}".replace("//", "/"))

    async def entry(self, path: str) -> Entry:
        """The file, folder or link at a path."""
        match _parts(path):
            case []:
                return Entry("/", _FOLDER_MODE)
            case [only] if only == FOLDER:
                return Entry(FOLDER, _FOLDER_MODE)
            case [first, label] if first == FOLDER:
                return self._label(self._snapshot(label))
            case [first, label, *rest] if first == FOLDER:
                return await self._in(label, lambda reader: reader.entry("/".join(rest)))
        raise FileNotFoundError(path)

    async def entries(self, path: str) -> list[Entry]:
        """What a folder holds."""
        match _parts(path):
            case []:
                return [Entry(FOLDER, _FOLDER_MODE)]
            case [only] if only == FOLDER:
                return [self._label(one) for one in self._snapshots.values()]
            case [first, label, *rest] if first == FOLDER:
                return await self._in(label, lambda reader: reader.entries("/".join(rest)))
        raise FileNotFoundError(path)

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file."""
        match _parts(path):
            case [first, label, *rest] if first == FOLDER and rest:
                return await self._in(label, lambda reader: reader.read("/".join(rest), offset, size))
        raise IsADirectoryError(path)

    def _snapshot(self, label: str) -> BrowsedSnapshot:
        if label not in self._snapshots:
            raise FileNotFoundError(label)
        return self._snapshots[label]

    @staticmethod
    def _label(snapshot: BrowsedSnapshot) -> Entry:
        return Entry(snapshot.id, _FOLDER_MODE, mtime=snapshot.create_time)

    async def _in(self, label: str, work: Callable[[SnapshotReader], T]) -> T:
        uid = self._snapshot(label).uid
        if uid not in self._open:
            while len(self._open) >= _OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[uid] = await self._browse(uid)
        self._open.move_to_end(uid)
        return await asyncio.to_thread(work, self._open[uid])


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
