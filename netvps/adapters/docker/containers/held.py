"""Tells whether a container's agent holds it, by the name of its PID 1 on this machine (tunnel/pid1/hold.go)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from netvps.adapters.cgroup import cgroup_of
from netvps.adapters.docker.client import Answer
from netvps.domain.runner.docker_names import LABEL_HOLD

ENDING: Final = "netvps-ending"
HELD: Final = "netvps-held"
_MACHINE: Final = Path("/")


def is_holdable(found: Answer, root: Path = _MACHINE) -> bool:
    """Whether the agent of an inspected container that runs can hold it, and can be seen doing so from here."""
    labels, pid = found["Config"].get("Labels") or {}, _pid(found)
    return LABEL_HOLD in labels and pid != 0 and str(found["Id"]) in (cgroup_of(pid, root) or "")


def name_of_pid1(found: Answer, root: Path = _MACHINE) -> str:
    """The name of a running container's PID 1; '' if it is not visible from here."""
    try:
        return (root / "proc" / str(_pid(found)) / "comm").read_text().strip() if _pid(found) else ""
    except OSError:
        return ""


def _pid(found: Answer) -> int:
    return int(found["State"].get("Pid") or 0)
