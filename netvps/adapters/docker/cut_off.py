"""A start that was cut off: Docker was killed when it had begun to start a container, and had not noted it.

Its successor holds the container for one that does not run, and cannot start it. What is in the way is known to nobody
but containerd, and goes; then the start works:

    task ID: already exists           a shim without a process, or both
    id already in use                 both, and containerd has noted it
    mkdir …/ID: file exists           a shim that containerd just starts, for the Docker that was killed; or the folder
                                      of one that ended before containerd could clean up after it
    given ID already exists           what runc notes of it; this goes with the try
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
_FOLDER: Final = re.compile(r"mkdir (/\S+/[0-9a-f]{64}): file exists")
_WORDS: Final = re.compile(
    r"task [0-9a-f]{64}: already exists|refused: id already in use|container with (given ID already|id) exists"
)


def was_cut_off(error: ContainerFailed) -> bool:
    """Whether a start was refused for this."""
    return bool(_WORDS.search(error.message) or _FOLDER.search(error.message))


def make_way(container_id: str, error: ContainerFailed, root: Path = Path("/")) -> None:
    """Ends or removes what is in the way of a start that was refused like this; `container_id` is the whole id.

    The folder only if nothing runs: else containerd cleans up itself, and better. Raises ContainerFailed where it may
    not.
    """
    if end_processes(container_id, root):
        return
    if (found := _FOLDER.search(error.message)) and (folder := Path(found[1])).name == container_id:
        _remove(folder, container_id)


def end_processes(container_id: str, root: Path = Path("/")) -> bool:
    """Kills what runs of a container, by its whole id, and its shim; whether there was anything.

    The shim has to go, too: containerd counts the task as there for as long as that lives. Raises ContainerFailed where
    it may not.
    """
    ours: list[str] = []
    not_ours: list[str] = []
    for process in (root / "proc").glob("[0-9]*"):
        with suppress(OSError):  # gone
            if _is_of(process, container_id):
                (ours if _killed(process, container_id) else not_ours).append(process.name)
    if not_ours:
        raise _forbidden(container_id, f"it runs: end that as root (kill -9 {' '.join(not_ours)})")
    return bool(ours)


def _is_of(process: Path, container_id: str) -> bool:
    """A zombie, which has no command line, is nobody's."""
    program, *arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    if program and container_id in (process / "cgroup").read_text():
        return True
    return Path(program).name.startswith(_SHIM) and container_id in arguments


def _killed(process: Path, container_id: str) -> bool:
    """False if we may not."""
    descriptor = os.pidfd_open(int(process.name))
    try:
        if _is_of(process, container_id):  # no other process has got its number meanwhile
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove(folder: Path, container_id: str) -> None:
    """No tree is removed: should the container's files be mounted in there, they stay."""
    try:
        for path in folder.iterdir():
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _forbidden(
            container_id, f"{folder} is left of it ({error.strerror}): unmount what is in there, remove it as root"
        ) from None


def _forbidden(container_id: str, what: str) -> ContainerFailed:
    return ContainerFailed(
        f"container {container_id[:12]}: Docker was killed while it started this, and does not know that {what}, and"
        " start the session again"
    )
