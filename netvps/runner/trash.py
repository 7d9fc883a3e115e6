"""Removes trees that a tenant may have filled: renamed at once, deleted later, in one thread for all.

Renaming costs the same whatever is inside. The deletion is slow on purpose (it pauses), follows no link, and uses
neither recursion nor long paths, so that neither many files nor deep folders block anything.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import structlog

_PREFIX = ".gone-"
_FOLDERS_AT_ONCE = 1000
_PAUSE_EVERY = 200
_PAUSE_SECONDS = 0.002
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
log = structlog.get_logger()


class Trash:
    """The trash of one folder; `run` it. Also removes what an earlier process left in it."""

    def __init__(self, folder: Path) -> None:
        self._waiting: deque[Path] = deque(folder.glob(f"{_PREFIX}*"))
        self._added = asyncio.Event()
        self._stopping = threading.Event()

    def put(self, path: Path) -> None:
        """Renames a folder or file, to be deleted later; ignores a missing one.

        It stays in its parent folder, as moving a folder elsewhere needs write permission on the folder itself.
        """
        gone = path.with_name(_PREFIX + secrets.token_hex(8))
        with suppress(FileNotFoundError):
            path.rename(gone)
            self._waiting.append(gone)
            self._added.set()

    async def run(self) -> None:
        """Deletes one after the other, until cancelled."""
        try:
            while True:
                while self._waiting:
                    await self._remove(self._waiting.popleft())
                self._added.clear()
                await self._added.wait()
        finally:
            self._stopping.set()

    async def _remove(self, path: Path) -> None:
        try:
            await asyncio.to_thread(remove_tree, path, self._stopping)
        except FileNotFoundError:
            pass  # deleted together with its parent folder
        except OSError as error:  # another user's, if the runner is not root; a reboot removes it
            log.warning("cannot remove what a session left", path=str(path), error=error.strerror)


def remove_tree(path: Path, stopping: threading.Event) -> None:
    """Deletes a folder recursively, or a file; ends early once `stopping` is set. Raises OSError."""
    if not stat.S_ISDIR(path.lstat().st_mode):
        path.unlink()
        return
    top = os.open(path, _FOLDER)
    try:
        fresh = (f"{_PREFIX}{secrets.token_hex(4)}-{n}" for n in count())
        while folders := _unlink_files(top, stopping):
            for name in folders:
                if stopping.is_set():
                    return
                _dissolve(top, name, fresh, stopping)
    finally:
        os.close(top)
    if not stopping.is_set():
        path.rmdir()


def _unlink_files(folder: int, stopping: threading.Event) -> list[str]:
    """Deletes the files of an open folder; returns a bounded number of its subfolders, or none once `stopping`."""
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in _paced(entries, stopping):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=folder)
                continue
            folders.append(entry.name)
            if len(folders) == _FOLDERS_AT_ONCE:
                break
    return folders


def _dissolve(top: int, name: str, fresh: Iterator[str], stopping: threading.Event) -> None:
    """Deletes a folder in `top` after moving its subfolders up to `top`, to be deleted from there."""
    folder = os.open(name, _FOLDER, dir_fd=top)
    try:
        with os.scandir(folder) as entries:
            for entry in _paced(entries, stopping):
                if entry.is_dir(follow_symlinks=False):
                    os.rename(entry.name, next(fresh), src_dir_fd=folder, dst_dir_fd=top)
                else:
                    os.unlink(entry.name, dir_fd=folder)
    finally:
        os.close(folder)
    with suppress(OSError):  # not empty: an entry was skipped, and the next pass finds the folder again
        os.rmdir(name, dir_fd=top)


def _paced(entries: Iterator[os.DirEntry[str]], stopping: threading.Event) -> Iterator[os.DirEntry[str]]:
    """Pauses regularly, so that other threads and processes get the CPU."""
    for number, entry in enumerate(entries, 1):
        if stopping.is_set():
            return
        yield entry
        if number % _PAUSE_EVERY == 0:
            stopping.wait(_PAUSE_SECONDS)
