"""A start that was cut off: Docker was killed when it had started a container and not noted it.

Its successor holds the container for one that never ran, and cannot start it: "task ID: already exists". What runs is
known to nobody, and ends here; then the start works.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from netvps.adapters.docker.errors import ContainerFailed

PAUSES: Final = (0.1, 0.3, 1.0, 3.0)
"""Seconds that the engine gets to hear of the end, from one try to the next."""
_SHIM: Final = "containerd-shim"
_EXISTS: Final = re.compile(r"task [0-9a-f]{64}: already exists")


def was_cut_off(error: ContainerFailed) -> bool:
    """Whether a start was refused for this."""
    return bool(_EXISTS.search(error.message))


def end_processes(container_id: str, root: Path = Path("/")) -> None:
    """Kills what runs of a container, by its whole id, and its shim. Raises ContainerFailed where it may not.

    The shim has to go, too: containerd counts the task as there for as long as that lives.
    """
    for process in (root / "proc").glob("[0-9]*"):
        with suppress(OSError):  # gone
            if _is_of(process, container_id):
                _kill(process, container_id)


def _is_of(process: Path, container_id: str) -> bool:
    if container_id in (process / "cgroup").read_text():
        return True
    program, *arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    return Path(program).name.startswith(_SHIM) and container_id in arguments


def _kill(process: Path, container_id: str) -> None:
    pid = int(process.name)
    descriptor = os.pidfd_open(pid)
    try:
        if _is_of(process, container_id):  # no other process has got its number meanwhile
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except PermissionError:
        raise ContainerFailed(
            f"container {container_id[:12]}: Docker was killed while it started this, and does not know that"
            f" process {pid} of it runs: end that as root (kill -9 {pid}), and start the session again"
        ) from None
    finally:
        os.close(descriptor)
