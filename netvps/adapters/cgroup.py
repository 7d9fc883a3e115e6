"""Counts kills by the OOM killer in a process' memory cgroup, version 1 or 2 (cgroups(7)).

    v1  /proc/PID/cgroup: "9:memory:/docker/ID"   /sys/fs/cgroup/memory/docker/ID/memory.oom_control: "oom_kill 3"
    v2  /proc/PID/cgroup: "0::/system.slice/…"    /sys/fs/cgroup/system.slice/…/memory.events:        "oom_kill 3"

On a hybrid machine both lines exist, and memory belongs to the v1 hierarchy.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

_KEY = "oom_kill"


def oom_kills(pid: int, root: Path = Path("/")) -> int | None:
    """Returns the counter of the cgroup of process `pid`; None if the process ended or the counter is unreadable.

    Also works for containers with a cgroup namespace: /proc shows paths relative to the reader's namespace.
    """
    try:
        text = (root / "proc" / str(pid) / "cgroup").read_text()
    except OSError:
        return None
    path = _counter(text, root / "sys/fs/cgroup")
    return _value(path) if path else None


def _counter(text: str, mount: Path) -> Path | None:
    """Finds the file with the counter, from the lines "HIERARCHY:CONTROLLERS:PATH" of /proc/PID/cgroup."""
    unified: Path | None = None
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        inside = PurePosixPath(path.lstrip("/"))
        if ".." in inside.parts:  # outside this process' cgroup namespace: not visible
            continue
        if "memory" in controllers.split(","):
            return mount / "memory" / inside / "memory.oom_control"
        if hierarchy == "0":
            unified = mount / inside / "memory.events"
    return unified


def _value(path: Path) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(" ")
        if key == _KEY and value.strip().isdigit():
            return int(value)
    return None
