"""Measures what a container wrote over its image, and finds what an image cannot hold."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netvps.adapters.docker.client import Answer, Api, disk_free
from netvps.adapters.docker.errors import DiskFull, ImageExportFailed
from netvps.domain.session.container import Container

WHITEOUT: Final = ".wh."
"""In a layer, a file with this prefix deletes its sibling (OCI image specification, "Whiteouts")."""
_BLOCK: Final = 512
_MAX_NAMES: Final = 5
_MIB: Final = 1 << 20
_DELETED: Final = 2
"""The engine's code for a deleted path."""
_SPARE_BYTES: Final = 64 << 20
"""Reserve for what a commit needs besides the files, and for other programs."""


@dataclass(frozen=True, slots=True)
class Written:
    """Sizes in bytes: `blocks` as allocated on disk, `apparent` as if files had no holes."""

    blocks: int = 0
    apparent: int = 0
    widest: str = ""
    """The file with the largest hole; '' if none has one."""
    widest_hole: int = 0
    whiteouts: tuple[str, ...] = ()
    """The first few files whose names mean a deletion in a layer."""


def survey(folder: str) -> Written:
    """Walks all files below a folder without following links; skips those that vanish. Blocks."""
    blocks = apparent = widest_hole = 0
    widest, whiteouts, linked = "", [], set[int]()
    for path, status in _walk(folder):
        if Path(path).name.startswith(WHITEOUT):
            whiteouts.append(path)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if status.st_ino in linked:
                continue
            linked.add(status.st_ino)
        used = status.st_blocks * _BLOCK
        blocks += used
        apparent += max(status.st_size, used)
        if stat.S_ISREG(status.st_mode) and status.st_size - used > widest_hole:
            widest, widest_hole = path, status.st_size - used
    return Written(blocks, apparent, widest, widest_hole, tuple(sorted(whiteouts)[:_MAX_NAMES]))


def _walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yields paths as seen in the container, from "/"."""
    folders = [""]
    while folders:
        inside = folders.pop()
        try:
            with os.scandir(root + inside) as entries:
                for entry in entries:
                    path = f"{inside}/{entry.name}"
                    try:
                        yield path, entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
        except FileNotFoundError:
            continue


def require_holdable(api: Api, container: Container, root: str, *, flatten: bool) -> None:
    """Raises ImageExportFailed or DiskFull if a layer cannot hold what the container wrote."""
    written = survey(container.files) if container.files else _written(api, container.id)
    if written.whiteouts:
        raise ImageExportFailed(
            f'an image cannot hold files whose names begin with "{WHITEOUT}", as they delete '
            f"their siblings there ({', '.join(written.whiteouts)}); rename them, or do without a snapshot"
        )
    if flatten:
        return  # needs space for all files, checked in `_flatten`
    hole = written.widest_hole if written.widest_hole > _SPARE_BYTES else 0
    need(written.apparent, root, f" (an image has no holes, and {written.widest} has a large one)" if hole else "")


def _written(api: Api, container_id: str) -> Written:
    """Asks the engine, where its folders are not accessible."""
    changed = [str(change["Path"]) for change in api.diff(container_id) or () if change.get("Kind") != _DELETED]
    whiteouts = [path for path in changed if path.rpartition("/")[2].startswith(WHITEOUT)]
    return Written(apparent=int(sizes(api, container_id).get("SizeRw") or 0), whiteouts=tuple(sorted(whiteouts)[:5]))


def sizes(api: Api, container_id: str) -> Answer:
    """Returns SizeRw (written) and SizeRootFs (all), in bytes; the engine walks the files for it."""
    found: list[Answer] = api.containers(all=True, size=True, filters={"id": container_id})
    return found[0] if found else {}


def need(size: object, root: str, why: str = "") -> None:
    """Raises DiskFull if the disk cannot hold `size` more bytes. Unknown sizes pass: the engine will fail itself."""
    needed = int(str(size or 0)) + _SPARE_BYTES
    free = disk_free(root)
    if free is not None and needed > free:
        raise DiskFull(
            f"the snapshot needs up to {needed // _MIB} MiB{why} and {free // _MIB} MiB are free in {root}; "
            "free space (docker system df)"
        )
