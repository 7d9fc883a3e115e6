"""Writes small files atomically and durably."""

from __future__ import annotations

import os
from pathlib import Path

_PART = ".part"


def remove_parts(folder: Path) -> None:
    """Removes remains of interrupted writes, at the start of the only process that uses this folder."""
    for part in folder.glob(f".*{_PART}"):
        part.unlink(missing_ok=True)


def write_file(path: Path, content: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Replaces a file atomically: readers, and a crash, see the old content or the new. `owner`: uid and gid."""
    import tempfile  # takes longer to import than the CLI's commands that write nothing can afford

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
    try:
        with os.fdopen(handle, "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Makes the creation, renaming and removal of files in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
