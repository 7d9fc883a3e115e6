"""Reads and writes /proc/sys; network values are those of this process' network namespace."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

_ROOT = Path("/proc/sys")
_MOUNTED = Path("/host/proc/sys")
"""Where the images of netvps have a /proc/sys that can be written: Docker makes the usual one read-only."""


def read(paths: Iterable[str], root: Path = _ROOT) -> dict[str, str]:
    """Returns values by path, for paths that this kernel has."""
    found = {}
    for path in paths:
        try:
            found[path] = (root / path).read_text(encoding="ascii").strip()
        except OSError:  # no IPv6: no net/ipv6; no such interface: none of its values
            continue
    return found


def write(path: str, value: str, root: Path = _ROOT) -> str:
    """Sets one value; returns why that failed, or ''. A path that this kernel lacks is ignored."""
    try:
        try:
            (root / path).write_text(value, encoding="ascii")
        except OSError as error:
            if error.errno != errno.EROFS or not _MOUNTED.exists():
                raise
            (_MOUNTED / path).write_text(value, encoding="ascii")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"cannot set sysctl {path.replace('/', '.')} to {value}: {error.strerror}; set it by hand (sysctl -w)"
    return ""
