"""Reads a process' cgroup, version 1 or 2 (cgroups(7)): kills by the OOM killer, CPU time, memory.

    v1  /proc/PID/cgroup: "9:memory:/docker/ID"      /sys/fs/cgroup/memory/docker/ID/memory.oom_control: "oom_kill 3"
                          "4:cpu,cpuacct:/docker/ID" /sys/fs/cgroup/cpuacct/docker/ID/cpuacct.usage: nanoseconds
    v2  /proc/PID/cgroup: "0::/system.slice/…"       /sys/fs/cgroup/system.slice/…/memory.events: "oom_kill 3"
                                                     /sys/fs/cgroup/system.slice/…/cpu.stat: "usage_usec 17"

On a hybrid machine both lines exist, and memory and CPU belong to the v1 hierarchy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_OOM_KILLS = "oom_kill"
_RECLAIM_PIECE = 64 << 20
"""Bytes per request, so that a container that goes on waits for a short one only."""


@dataclass(frozen=True, slots=True)
class CgroupUsage:
    """What all processes of a cgroup used: CPU time since its creation, and memory without reclaimable file cache."""

    cpu_seconds: float
    memory_bytes: int


def cgroup_of(pid: int, root: Path = Path("/")) -> str | None:
    """The lines of /proc/PID/cgroup; None if the process ended.

    Also works for containers with a cgroup namespace: /proc shows paths relative to the reader's namespace.
    """
    try:
        return (root / "proc" / str(pid) / "cgroup").read_text()
    except OSError:
        return None


def cgroup_upto(cgroup: str, name: str) -> str:
    """The lines of /proc/PID/cgroup up to the folder whose name contains `name`; '' if none of them has it.

    With the id of a container: its own cgroup, and not one that its processes made in it.
    """
    lines = (line.partition(name) for line in cgroup.splitlines())
    return "\n".join(before + found + rest.partition("/")[0] for before, found, rest in lines if found)


def oom_kills(pid: int, root: Path = Path("/")) -> int | None:
    """Returns the counter of the cgroup of process `pid`; None if the process ended or the counter is unreadable."""
    folder, unified = _folder(cgroup_of(pid, root) or "", "memory", root)
    return _value(folder / ("memory.events" if unified else "memory.oom_control"), _OOM_KILLS) if folder else None


def usage(cgroup: str, root: Path = Path("/")) -> CgroupUsage | None:
    """What the cgroup with these lines of /proc/PID/cgroup uses; None if it is gone or unreadable."""
    cpu, memory = _cpu_seconds(cgroup, root), _memory_bytes(cgroup, root)
    return CgroupUsage(cpu, memory) if cpu is not None and memory is not None else None


def pids(cgroup: str, root: Path = Path("/")) -> int | None:
    """The number of processes and threads in the cgroup with these lines; None if it is gone or unreadable."""
    folder, _ = _folder(cgroup, "pids", root)
    return _number(folder / "pids.current") if folder else None


def reclaim(cgroup: str, given_up: Callable[[], bool], root: Path = Path("/")) -> int:
    """Lets the kernel take back memory of the cgroup with these lines; returns how many bytes it took.

    File contents are dropped, and the rest goes to swap if there is any. Ends early once `given_up()`, called between
    pieces, returns true. Version 1 has no such request, nor has a kernel before 5.19: nothing is taken there.
    """
    folder, unified = _folder(cgroup, "memory", root)
    if folder is None or not unified:
        return 0
    request, current = folder / "memory.reclaim", folder / "memory.current"
    before = _number(current) or 0
    last = before + 1
    while request.exists() and not given_up() and 0 < (left := _number(current) or 0) < last:
        last = left
        try:
            request.write_text(str(min(left, _RECLAIM_PIECE)))
        except OSError:  # mostly EAGAIN: the kernel took back less than requested, so there is no more
            break
    return max(0, before - (_number(current) or before))


def _cpu_seconds(cgroup: str, root: Path) -> float | None:
    folder, unified = _folder(cgroup, "cpuacct", root)
    if folder is None:
        return None
    if unified:
        microseconds = _value(folder / "cpu.stat", "usage_usec")
        return None if microseconds is None else microseconds / 1e6
    nanoseconds = _number(folder / "cpuacct.usage")
    return None if nanoseconds is None else nanoseconds / 1e9


def _memory_bytes(cgroup: str, root: Path) -> int | None:
    folder, unified = _folder(cgroup, "memory", root)
    if folder is None:
        return None
    used = _number(folder / ("memory.current" if unified else "memory.usage_in_bytes"))
    cache = _value(folder / "memory.stat", "inactive_file" if unified else "total_inactive_file")
    return None if used is None else max(0, used - (cache or 0))


def _folder(cgroup: str, controller: str, root: Path) -> tuple[Path | None, bool]:
    """Finds the folder of a controller, from lines "HIERARCHY:CONTROLLERS:PATH"; and whether it is of version 2."""
    mount, unified = root / "sys/fs/cgroup", None
    for line in cgroup.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        inside = PurePosixPath(path.lstrip("/"))
        if ".." in inside.parts:  # outside this process' cgroup namespace: not visible
            continue
        if controller in controllers.split(","):
            own = mount / controller  # a link, where controllers are mounted together
            return (own if own.exists() else mount / controllers) / inside, False
        if hierarchy == "0":
            unified = mount / inside
    return unified, True


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _value(path: Path, key: str) -> int | None:
    """The number after a key, in a file of lines "KEY NUMBER"."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        found, _, value = line.partition(" ")
        if found == key and value.strip().isdigit():
            return int(value)
    return None
