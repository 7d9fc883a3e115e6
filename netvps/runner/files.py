"""Writes small files atomically."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_PART = ".part"


def remove_parts(folder: Path) -> None:
    """Removes remains of interrupted writes, at the start of the only process that uses this folder."""
    for part in folder.glob(f".*{_PART}"):
        part.unlink(missing_ok=True)


def write_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replaces a file atomically: readers, and a crash, see the old content or the new."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
