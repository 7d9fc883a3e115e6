"""Whether the engine's storage driver can limit the disk of a container (`--storage-opt size=…`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

_ALWAYS: Final = frozenset({"btrfs", "devicemapper", "zfs"})
_BY_QUOTA: Final = frozenset({"overlay2", "vfs"})
_QUOTA: Final = frozenset({"pquota", "prjquota"})
REMEDY: Final = "put Docker's data folder on xfs mounted with the option pquota, or on btrfs or zfs"


def why_no_limits(info: dict[str, Any], mountinfo: Path = Path("/proc/self/mountinfo")) -> str:
    """Returns why an engine cannot limit disks, with the remedy; '' if it can. `info` is the engine's answer."""
    driver, root = str(info.get("Driver") or "unknown"), str(info.get("DockerRootDir") or "")
    if driver in _ALWAYS:
        return ""
    if driver not in _BY_QUOTA:
        return f"Docker's storage driver {driver} cannot; use overlay2, and {REMEDY}"
    mounted = _mount_of(root, mountinfo)
    if mounted is None:
        return f"the file system of Docker's data folder {root} is not visible to the runner"
    kind, options = mounted
    if kind != "xfs":
        return f"Docker's data folder {root} is on {kind}, where {driver} cannot; {REMEDY}"
    if not _QUOTA & options:
        return f"Docker's data folder {root} is on xfs without the mount option pquota; {REMEDY}"
    return ""


def disk_bytes(root: str) -> int:
    """Returns the size of the disk of a folder; 0 if it is not visible from here."""
    try:
        status = os.statvfs(root)
    except (OSError, ValueError):
        return 0
    return status.f_blocks * status.f_frsize


def _mount_of(folder: str, mountinfo: Path) -> tuple[str, frozenset[str]] | None:
    """Returns type and options of the file system of a folder; None if unknown."""
    real = Path(os.path.realpath(folder))
    if not folder or not real.exists():
        return None
    found: tuple[int, str, frozenset[str]] | None = None
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(" "), [*after.split(" ", 2), "", ""][:3]
        point = fields[4].encode().decode("unicode_escape") if len(fields) > 5 else ""  # noqa: PLR2004 — see proc(5)
        if point and real.is_relative_to(point) and (found is None or len(point) >= found[0]):  # the last one is on top
            found = len(point), kind, frozenset(options.split(","))
    return found and found[1:]
