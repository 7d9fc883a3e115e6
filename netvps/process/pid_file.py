"""The file by which `netvps down` finds the process of `netvps up`, and not a later one with the same pid."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.files import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_START_TIME: Final = 21
"""Field of /proc/PID/stat (proc(5) counts from 1, and two come before the last parenthesis)."""


class PidFile:
    """The file, kept up to date: JSON with "pid", "started" (in clock ticks since boot), and facts."""

    def __init__(self, file: Path, facts: Mapping[str, object]) -> None:
        self._file = file
        self._content = {"pid": os.getpid(), "started": start_time(os.getpid()), **facts}

    def update(self, **facts: object) -> None:
        """Replaces the file, with these facts added."""
        self._content |= facts
        write_file(self._file, json.dumps(self._content).encode() + b"\n", 0o644)


@contextmanager
def pid_file(file: Path, facts: Mapping[str, object] | None = None) -> Iterator[PidFile]:
    """Keeps `file` for the block."""
    kept = PidFile(file, facts or {})
    kept.update()
    try:
        yield kept
    finally:
        file.unlink(missing_ok=True)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may contain spaces and parentheses itself.
    return int(stat.rpartition(")")[2].split()[_START_TIME - 2])
