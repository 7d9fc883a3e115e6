"""How often the OOM killer struck in a process's memory cgroup; version 1 and 2 (cgroups(7)).

    v1  /proc/PID/cgroup: "9:memory:/docker/ID"   /sys/fs/cgroup/memory/docker/ID/memory.oom_control: "oom_kill 3"
    v2  /proc/PID/cgroup: "0::/system.slice/…"    /sys/fs/cgroup/system.slice/…/memory.events:        "oom_kill 3"

On a hybrid machine both lines are there, and memory belongs to the v1 hierarchy.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

_KEY = "oom_kill"


def oom_kills(pid: int, root: Path = Path("/")) -> int | None:
    """The counter of the cgroup that process `pid` is in; None if it is gone, or cannot be read.

    A container that runs under its own cgroup namespace shows the same to us: the paths of /proc are in ours.
    """
    try:
        text = (root / "proc" / str(pid) / "cgroup").read_text()
    except OSError:
        return None
    path = _counter(text, root / "sys/fs/cgroup")
    return _value(path) if path else None


def _counter(text: str, mount: Path) -> Path | None:
    """The file that holds the counter, by the lines of /proc/PID/cgroup: "HIERARCHY:CONTROLLERS:PATH"."""
    unified: Path | None = None
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        inside = PurePosixPath(path.lstrip("/"))
        if ".." in inside.parts:  # in a cgroup namespace beside ours: not visible
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
