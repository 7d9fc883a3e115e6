"""Checks whether this process may change the network (capabilities(7))."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_NET_ADMIN: Final = 1 << 12
_STATUS: Final = Path("/proc/self/status")


def unprivileged(status: Path = _STATUS) -> str:
    """Returns why this process may not change the network, and what to do; '' if it may."""
    capabilities = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("CapEff:"))
    if int(capabilities.split()[1], 16) & _NET_ADMIN:
        return ""
    return "changing the network needs CAP_NET_ADMIN: run as root, or grant it"
