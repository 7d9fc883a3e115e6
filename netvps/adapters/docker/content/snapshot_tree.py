"""The files of a snapshot, read where they are in its archive: an index of its members in memory, and the open file.

What the image below has is not part of a snapshot. The archive may have been imported, so nothing of it is followed:
paths are looked up in the index, never in a file system.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from bisect import bisect_right
from dataclasses import dataclass
from errno import EINVAL, EIO, EISDIR, ENOENT, ENOTDIR
from pathlib import Path
from typing import Final

from netvps.adapters.docker.content.tar_members import BLOCK, BadArchive, Member, members
from netvps.adapters.docker.errors import ImageImportFailed
from netvps.adapters.docker.files.archives import Note, own_errors
from netvps.adapters.docker.files.snapshot_archives import SnapshotArchives
from netvps.domain.snapshot.browse import Entry
from netvps.errors import Exhausted

MAX_INDEXED: Final = 400_000
"""Files of all snapshots that are open together; about 0.5 KB of memory each."""
_MAX_MAP: Final = 1 << 20
"""Bytes of the map of a sparse file."""


class _Room:
    """The files that may still be indexed. Used by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = 0

    def take(self) -> None:
        with self._lock:
            if self._used >= MAX_INDEXED:
                raise Exhausted(
                    f"the snapshots that are open on this runner hold more than {MAX_INDEXED} files: close some, or "
                    "clone or export this one",
                    reason="TOO_MANY_FILES",
                )
            self._used += 1

    def give_back(self, count: int) -> None:
        with self._lock:
            self._used -= count


@dataclass(slots=True)
class _Node:
    """A member. Folders have children."""

    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    offset: int = 0
    stored: int = 0
    target: str = ""
    sparse: bool = False
    children: dict[str, _Node] | None = None

    def entry(self, name: str) -> Entry:
        return Entry(name, self.mode, self.uid, self.gid, self.size, self.mtime, self.target)


class SnapshotTree:
    """One snapshot. Methods block; it is used by one thread at a time."""

    def __init__(self, note: Note, archive: Path, room: _Room) -> None:
        """Reads all headers. Raises Exhausted, BadArchive, OSError."""
        self._room = room
        self._count = 0
        self._maps: dict[int, list[tuple[int, int, int]]] = {}
        """Of sparse files that were read, by offset: where a piece begins in the file, its size, and its place."""
        self._root = _folder()
        self._content = archive.open("rb")
        try:
            self._index(note)
        except BaseException:
            self.close()
            raise

    def entry(self, path: str) -> Entry:
        """The file, folder or link at a path."""
        return self._node(path).entry(path.rstrip("/").rpartition("/")[2])

    def entries(self, path: str) -> list[Entry]:
        """What a folder holds, by name."""
        children = self._node(path).children
        if children is None:
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
        return [children[name].entry(name) for name in sorted(children)]

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file; fewer than asked for at its end."""
        node = self._node(path)
        if node.children is not None:
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        if not stat.S_ISREG(node.mode):
            raise OSError(EINVAL, "not a file")
        size = min(size, node.size - offset)
        if size <= 0:
            return b""
        return self._read_sparse(node, offset, size) if node.sparse else self._stored(node.offset + offset, size)

    def close(self) -> None:
        """Frees it. Idempotent."""
        self._content.close()
        self._room.give_back(self._count)
        self._count = 0
        self._root = _folder()

    def _index(self, note: Note) -> None:
        parts = [("", 0), *sorted(note.volumes.items(), key=lambda one: one[1])]
        ends = [*(begin for _, begin in parts[1:]), os.fstat(self._content.fileno()).st_size]
        for (at, begin), end in zip(parts, ends, strict=True):
            for member in members(self._content, begin, end):
                if not member.deletes:
                    self._add(at, member)

    def _add(self, at: str, member: Member) -> None:
        names = _names(at + member.path)
        if not names:
            self._root = _folder(member, self._root.children)
            return
        folder = self._root
        for name in names[:-1]:
            folder = self._child(folder, name)
        if folder.children is None:
            raise BadArchive(f"{member.name!r} is in something that is no folder")
        known = folder.children.get(names[-1])
        if known is None:
            self._room.take()
            self._count += 1
        if not member.kind:
            folder.children[names[-1]] = self._node(at + "/" + member.target.removeprefix("."))
        elif stat.S_ISDIR(member.kind):
            folder.children[names[-1]] = _folder(member, known.children if known else None)
        else:
            folder.children[names[-1]] = _leaf(member)

    def _child(self, folder: _Node, name: str) -> _Node:
        """The folder above a member; made if the archive lacks it, as above a volume."""
        if folder.children is None:
            raise BadArchive(f"{name!r} is in something that is no folder")
        if name not in folder.children:
            self._room.take()
            self._count += 1
            folder.children[name] = _folder()
        return folder.children[name]

    def _node(self, path: str) -> _Node:
        node = self._root
        for name in _names(path):
            if node.children is None or name not in node.children:
                raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
            node = node.children[name]
        return node

    def _stored(self, position: int, size: int) -> bytes:
        self._content.seek(position)
        data = self._content.read(size)
        if len(data) != size:
            raise OSError(EIO, "the archive is cut off")
        return data

    def _read_sparse(self, node: _Node, offset: int, size: int) -> bytes:
        pieces = self._maps.get(node.offset)
        if pieces is None:
            if len(self._maps) >= 8:  # noqa: PLR2004 — each may have a MiB
                self._maps.clear()
            pieces = self._maps[node.offset] = self._map(node)
        found, end = bytearray(size), offset + size
        for begin, length, place in pieces[max(0, bisect_right(pieces, (offset, 1 << 63, 0)) - 1) :]:
            if begin >= end:
                break
            first, last = max(begin, offset), min(begin + length, end)
            if first < last:
                found[first - offset : last - offset] = self._stored(place + first - begin, last - first)
        return bytes(found)

    def _map(self, node: _Node) -> list[tuple[int, int, int]]:
        """The map before the content: decimal numbers in lines, how many pieces, then offset and size of each."""
        text = self._stored(node.offset, min(node.stored, _MAX_MAP))
        count, _, rest = text.partition(b"\n")
        numbers = rest.split(b"\n", 2 * _number(count))[: 2 * _number(count)]
        length = len(count) + 1 + sum(len(number) + 1 for number in numbers)
        place = node.offset + -(-length // BLOCK) * BLOCK
        pieces = []
        for begin, size in zip(*[iter(map(_number, numbers))] * 2, strict=True):
            pieces.append((begin, size, place))
            place += size
        return pieces


class Browsing:
    """Opens snapshots, within one limit of memory."""

    def __init__(self, snapshots: SnapshotArchives) -> None:
        self._snapshots = snapshots
        self._room = _Room()

    async def open(self, session_uid: str, uid: str) -> SnapshotTree:
        """Opens a snapshot for reading. Raises ImageNotFound, ImageImportFailed, Exhausted."""

        def work() -> SnapshotTree:
            with own_errors("cannot read the snapshot", ImageImportFailed):
                return SnapshotTree(*self._snapshots.content(session_uid, uid), self._room)

        return await asyncio.to_thread(work)


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in {"", "."}]


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:  # noqa: PLR2004 — 64 bits
        raise OSError(EIO, "the map of a file with holes is damaged")
    return int(text)


def _leaf(member: Member) -> _Node:
    return _Node(
        member.kind | member.mode,
        member.uid,
        member.gid,
        member.size,
        member.mtime_ns // 1_000_000_000,
        member.offset,
        member.stored,
        member.target,
        member.sparse,
    )


def _folder(member: Member | None = None, children: dict[str, _Node] | None = None) -> _Node:
    node = _leaf(member) if member else _Node(stat.S_IFDIR | 0o755)
    node.children = {} if children is None else children
    return node
