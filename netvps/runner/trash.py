"""Removes trees that a tenant may have filled: out of the way at once, and gone later, in one thread for all of them.

Renaming costs the same whatever is inside. The removal is slow on purpose (it pauses), follows no link, and needs
neither recursion nor long paths, so that neither many files nor deep folders stop anything.
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
    """Of one folder; `run` it. What an earlier process left in it is removed, too."""

    def __init__(self, folder: Path) -> None:
        self._waiting: deque[Path] = deque(folder.glob(f"{_PREFIX}*"))
        self._news = asyncio.Event()
        self._stopping = threading.Event()

    def put(self, path: Path) -> None:
        """Moves a folder or file out of the way, to be removed. One that is gone already changes nothing.

        It stays in its parent folder: to move a folder into another one takes the right to write to it.
        """
        gone = path.with_name(_PREFIX + secrets.token_hex(8))
        with suppress(FileNotFoundError):
            path.rename(gone)
            self._waiting.append(gone)
            self._news.set()

    async def run(self) -> None:
        """Removes one after the other, until cancelled."""
        try:
            while True:
                while self._waiting:
                    await self._remove(self._waiting.popleft())
                self._news.clear()
                await self._news.wait()
        finally:
            self._stopping.set()

    async def _remove(self, path: Path) -> None:
        try:
            await asyncio.to_thread(remove_tree, path, self._stopping)
        except FileNotFoundError:
            pass  # it went with the folder that it was in
        except OSError as error:  # of another user, where the runner is not root; a restart of the machine removes it
            log.warning("cannot remove what a session left", path=str(path), error=error.strerror)


def remove_tree(path: Path, stopping: threading.Event) -> None:
    """Removes a folder with all that is in it, or a file; ends early once it is `stopping`. Raises OSError."""
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
    """Removes files from an open folder; returns folders that it met, a bounded number, or none once `stopping`."""
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
    """Removes a folder in `top`; the folders in it move up, to be removed from there."""
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
    with suppress(OSError):  # an entry that was passed over: the next look at `top` finds the folder again
        os.rmdir(name, dir_fd=top)


def _paced(entries: Iterator[os.DirEntry[str]], stopping: threading.Event) -> Iterator[os.DirEntry[str]]:
    """Leaves the interpreter, and the processor, to others again and again."""
    for number, entry in enumerate(entries, 1):
        if stopping.is_set():
            return
        yield entry
        if number % _PAUSE_EVERY == 0:
            stopping.wait(_PAUSE_SECONDS)
