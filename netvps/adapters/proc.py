"""Reads /proc (proc(5)): network bytes of a process' namespace, and what the whole machine uses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_RECEIVED, _SENT = 0, 8
"""Columns of /proc/net/dev after the name."""
_IDLE, _IOWAIT, _STEAL = 3, 4, 7
"""Columns of the line "cpu" of /proc/stat, in ticks. Guests' time after STEAL is contained in that of the user."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class MachineUsage:
    """What a machine used since it was started, and the memory in use now; bytes are None if they are unreadable."""

    cpu_seconds: float
    memory_bytes: int
    received_bytes: int | None
    sent_bytes: int | None


def network_bytes(pid: int, root: Path = Path("/")) -> tuple[int | None, int | None]:
    """Bytes that the network namespace of a process received and sent, but not on loopback; None if unreadable."""
    return _sum(_interfaces(root / "proc" / str(pid) / "net/dev"))


def machine_usage(root: Path = Path("/")) -> MachineUsage | None:
    """What this machine uses; None if /proc is unreadable."""
    try:
        ticks = [int(word) for word in _line(root / "proc/stat", "cpu ").split()[: _STEAL + 1]]
        total, free = (_kib(root / "proc/meminfo", key) for key in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError):
        return None
    busy = sum(ticks) - sum(ticks[_IDLE : _IOWAIT + 1])
    outer = _outer(root)
    received, sent = _sum(row for row in _interfaces(root / "proc/self/net/dev") if row[0] in outer)
    return MachineUsage(busy / _TICKS, max(0, total - free), received, sent)


def _outer(root: Path) -> set[str]:
    """The interfaces to other machines: hardware; without any, those with a default route.

    Not all, because a packet of a session also passes its veth pair and a bridge.
    """
    hardware = {path.parent.name for path in (root / "sys/class/net").glob("*/device")}
    return hardware or {
        row[0] for row in map(str.split, _lines(root / "proc/self/net/route")) if len(row) > 1 and row[1] == "00000000"
    }


def _interfaces(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, received and sent bytes of each interface, but not of loopback."""
    for line in _lines(path):
        name, colon, rest = line.partition(":")
        columns = rest.split()
        if colon and len(columns) > _SENT and name.strip() != "lo" and columns[0].isdigit():
            yield name.strip(), int(columns[_RECEIVED]), int(columns[_SENT])


def _sum(interfaces: Iterator[tuple[str, int, int]]) -> tuple[int | None, int | None]:
    """None without any interface: those of another account's process are not visible, and its bytes are unknown."""
    rows = [*interfaces]
    if not rows:
        return None, None
    return sum(row[1] for row in rows), sum(row[2] for row in rows)


def _kib(path: Path, key: str) -> int:
    """The bytes of a line "KEY:  123 kB"."""
    return int(_line(path, f"{key}:").split()[0]) * 1024


def _line(path: Path, start: str) -> str:
    """The rest of the line with that start. Raises ValueError if there is none, OSError."""
    for line in path.read_text().splitlines():
        if line.startswith(start):
            return line.removeprefix(start)
    raise ValueError(f"{path} has no line {start}")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
