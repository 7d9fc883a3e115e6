"""Rotates a program's log file: at its start, and while it is written to."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from pathlib import Path

LIMIT: Final = 16 << 20
"""Bytes; a longer log is rotated."""
OLDER: Final = 4
"""Number of rotated logs that are kept: FILE.1 is the latest."""
_LOOK_EVERY: Final = 10.0
log = structlog.get_logger()


def rotate_if_too_long(file: Path, limit: int = LIMIT) -> None:
    """Rotates a log that is too long, before the program opens it."""
    if file.exists() and file.stat().st_size > limit:
        _shift(file)
        file.replace(_older(file))


async def keep_bounded(file: Path, limit: int = LIMIT, every: float = _LOOK_EVERY) -> None:
    """Rotates the log whenever it is too long: copies and truncates it. Returns if stderr is not this file.

    Truncated and not renamed, because child processes have it open for appending and continue at its new end. Lines
    written between the copy and the truncation are lost.
    """
    while (size := await asyncio.to_thread(_size_if_ours, file)) is not None:
        if size > limit:
            try:
                await asyncio.to_thread(_copy_and_empty, file)
                log.info("log rotated", older=str(_older(file)))
            except OSError as error:
                log.warning("cannot rotate the log", error=error.strerror, file=str(file))
        await asyncio.sleep(every)


def _copy_and_empty(file: Path) -> None:
    part = _older(file).with_suffix(".part")
    try:
        shutil.copyfile(file, part)
        part.chmod(0o600)
        _shift(file)
        part.replace(_older(file))
    finally:
        part.unlink(missing_ok=True)
    os.truncate(file, 0)


def _shift(file: Path) -> None:
    """Renames the rotated logs to make room for a new one; removes the oldest."""
    for number in range(OLDER - 1, 0, -1):
        if _older(file, number).exists():
            _older(file, number).replace(_older(file, number + 1))


def _older(file: Path, number: int = 1) -> Path:
    return file.with_suffix(f".log.{number}")


def _size_if_ours(file: Path) -> int | None:
    """Size in bytes; None unless stderr is this file. It may be a terminal, a journal, or a file of the user."""
    try:
        found = file.stat()
        return found.st_size if os.path.samestat(found, os.fstat(sys.stderr.fileno())) else None
    except (OSError, ValueError):
        return None
