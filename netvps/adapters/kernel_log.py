"""Reads the OOM killer's victims from the kernel's log (dev-kmsg in the kernel's documentation).

    6,1203,574565341,-;oom-kill:constraint=CONSTRAINT_MEMCG,…,task_memcg=/docker/ID,task=sh,pid=4211,uid=0
    3,1204,574565377,-;Memory cgroup out of memory: Killed process 4211 (sh) total-vm:9016kB, …

The second line is always there, the first at most ten times in five seconds. Both are written before the victim ends,
so that unlike a cgroup's counter and Docker's flag they do not race with its end.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_CGROUP = re.compile(rb"^oom-kill:.*task_memcg=([^,]*),.*\bpid=(\d+)")
_KILLED = re.compile(rb"Killed process (\d+) ")
_RECORD = 8192
"""Bytes; longer than the kernel lets a record be."""


@dataclass(frozen=True, slots=True)
class OomVictim:
    """A process that the OOM killer ended."""

    pid: int
    """In the machine's own namespace."""
    cgroup: str
    """'' if unknown."""
    time: datetime


def oom_victims(path: Path = Path("/dev/kmsg")) -> list[OomVictim]:
    """Returns the victims that the log still holds, oldest first; none if it is not readable from here."""
    # Its clock starts with the machine and has no date.
    booted = time.time() - time.monotonic()
    found: dict[tuple[int, int], OomVictim] = {}
    cgroups: dict[int, str] = {}
    for record in _records(path):
        head, _, text = record.partition(b";")
        if match := _CGROUP.match(text):
            cgroups[int(match[2])] = match[1].decode(errors="replace")
        elif match := _KILLED.search(text):
            pid, microseconds = int(match[1]), int(head.split(b",")[2])
            ended = datetime.fromtimestamp(booted + microseconds / 1e6, UTC)
            found[pid, microseconds] = OomVictim(pid, cgroups.pop(pid, ""), ended)
    return list(found.values())


def _records(path: Path) -> list[bytes]:
    """All records that the log holds; each read(2) returns one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    found: list[bytes] = []
    try:
        while True:
            try:
                record = os.read(descriptor, _RECORD)
            except BrokenPipeError:  # overwritten while we read: the next read goes on with the oldest left
                continue
            except OSError:  # EAGAIN: the end
                return found
            if not record:
                return found
            # A plain file, as in tests, returns many at once.
            found += record.splitlines() if b"oom" in record or b"Killed" in record else []
    finally:
        os.close(descriptor)
