"""Values below /proc/sys; those of the network are of the namespace that this process is in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_ROOT = Path("/proc/sys")


def read(paths: Iterable[str], root: Path = _ROOT) -> dict[str, str]:
    """Values by path, of those that this kernel has."""
    found = {}
    for path in paths:
        try:
            found[path] = (root / path).read_text(encoding="ascii").strip()
        except OSError:  # without IPv6 there is no net/ipv6; without the link, nothing of it
            continue
    return found


def write(path: str, value: str, root: Path = _ROOT) -> str:
    """Sets one; returns why it could not, or ''. One that this kernel does not have is no error."""
    try:
        (root / path).write_text(value, encoding="ascii")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"sysctl {path.replace('/', '.')} = {value}: {error.strerror}; set it on the machine itself (sysctl -w)"
    return ""
