"""Files of snapshots as they are shown, read-only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FOLDER: Final = ".snapshots"
"""The folder of all snapshots, at the root of what is shown."""
MAX_BROWSED: Final = 600
"""Maximum snapshots of one session that are shown."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link. Names are text in which bytes that are not UTF-8 are surrogates."""

    name: str
    mode: int
    """With the type, as in st_mode."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    """In bytes."""
    mtime: int = 0
    """Unix time in seconds."""
    target: str = ""
    """Of a link."""
