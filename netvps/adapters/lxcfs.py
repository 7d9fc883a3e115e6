"""Finds lxcfs on this machine: files like those in /proc that show a container its own limits and load."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MOUNT: Final = "/var/lib/lxcfs"
_PROC: Final = ("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime")
"""Those that runc permits to mount over."""
_CPUS: Final = "sys/devices/system/cpu"
_TYPE: Final = "fuse.lxcfs"


def lxcfs_files(mountinfo: Path = Path("/proc/self/mountinfo")) -> tuple[tuple[str, str], ...]:
    """Returns pairs of a path of lxcfs and the path in a container that it replaces; () where it is not mounted.

    Blocks; longer if lxcfs hangs.
    """
    try:
        mounted = any(_is_lxcfs(line) for line in mountinfo.read_text(encoding="utf-8").splitlines())
    except OSError:
        return ()
    if not mounted:
        return ()
    wanted = [*(f"proc/{name}" for name in _PROC), _CPUS]
    return tuple((f"{MOUNT}/{path}", f"/{path}") for path in wanted if os.access(f"{MOUNT}/{path}", os.R_OK))


def _is_lxcfs(line: str) -> bool:
    """Parses a line of mountinfo: … ROOT MOUNT_POINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS."""
    before, _, after = line.partition(" - ")
    fields = before.split(" ")
    return len(fields) > 4 and fields[4] == MOUNT and after.split(" ")[0] == _TYPE  # noqa: PLR2004 — as above
