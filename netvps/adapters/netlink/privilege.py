"""Checks whether this process may change the network (capabilities(7))."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_NET_ADMIN: Final = 1 << 12
_SYS_ADMIN: Final = 1 << 21
_STATUS: Final = Path("/proc/self/status")


def unprivileged(status: Path = _STATUS) -> str:
    """Returns why this process may not change the network, and what to do; '' if it may."""
    if _effective(status) & _NET_ADMIN:
        return ""
    return "changing the network needs CAP_NET_ADMIN: run as root, or grant it"


def may_enter_namespaces(status: Path = _STATUS) -> bool:
    """Reports whether this process may enter the network namespaces of containers, and change them (setns(2))."""
    return _effective(status) & _NET_ADMIN != 0 and _effective(status) & _SYS_ADMIN != 0


def _effective(status: Path) -> int:
    found = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("CapEff:"))
    return int(found.split()[1], 16)
