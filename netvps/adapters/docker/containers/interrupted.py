"""Recovers from an interrupted start: Docker was killed while it started a container, before it recorded that.

The restarted Docker takes the container for a stopped one, but cannot start it because of remains that only containerd
knows of. They are removed, and the start is repeated. The engine's error says which remains there are:

    task ID: already exists           a shim without a process, or with one
    id already in use                 the same, and containerd has recorded the task
    mkdir …/ID: file exists           a shim that containerd is starting for the killed Docker; or the folder of a task
                                      that ended before containerd could clean up
    given ID already exists           runc's state of the container; the failed start removes it

The runner may be root, so an error's text alone never decides a removal: the caller has verified by name and labels
that the container is a session's, and a folder is removed only where this engine's containerd keeps that container,
without following symbolic links. Otherwise the error says what to remove by hand.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

from netvps.adapters.docker.errors import ContainerFailed

PAUSES: Final = (0.1, 0.3, 1.0, 3.0)
"""Seconds between tries, in which the engine notices that the remains are gone."""
_SHIM: Final = "containerd-shim"
_TASKS: Final = "io.containerd.runtime.v2.task"
_SECONDS: Final = 5.0
_FOLDER: Final = re.compile(r"mkdir (/\S+/[0-9a-f]{64}): file exists")
_WORDS: Final = re.compile(
    r"task [0-9a-f]{64}: already exists|refused: id already in use|container with (given ID already|id) exists"
)


def was_interrupted(error: ContainerFailed) -> bool:
    """Reports whether a start was refused because of remains of an interrupted one."""
    return bool(_WORDS.search(error.message) or _FOLDER.search(error.message))


def task_folders(base_url: str, root: Path = Path("/")) -> frozenset[Path]:
    """Returns the folders in which containerd keeps a folder per running container, for the engine at this socket.

    Reads the command line of the process that listens there; uses Docker's defaults if that is systemd or unknown.
    """
    flags = _flags(root / "proc" / str(_listener(base_url)) / "cmdline")
    namespace = flags.get("--containerd-namespace", "moby")
    exec_root = Path(flags.get("--exec-root", "/var/run/docker"))
    states = (Path("/run/containerd"), exec_root / "containerd/daemon")
    return frozenset((state / _TASKS / namespace).resolve() for state in states)


def remove_remains(
    container_id: str, error: ContainerFailed, root: Path = Path("/"), *, folders: Collection[Path] = ()
) -> None:
    """Kills processes or removes the folder that block this start; `container_id` is the full id.

    Removes the folder only if no process runs (else containerd cleans up itself, more thoroughly) and if it is in one
    of `folders`. Raises ContainerFailed, with the remedy, where that is not allowed.
    """
    if end_processes(container_id, root):
        return
    if (found := _FOLDER.search(error.message)) and (folder := Path(found[1])).name == container_id:
        if folder.parent.resolve() not in folders:
            raise _forbidden(
                container_id,
                f"{folder} is left of it, outside the folders of this Docker's containerd: if no process of the "
                "container"
                " runs, remove it as root",
            )
        _remove(folder, container_id)


def _listener(base_url: str) -> int:
    """Returns the pid of the process that listens on the engine's socket; 0 if unknown."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(base_url.removeprefix("unix://"))
            pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return 0
    return int(pid)


def _flags(command_line: Path) -> dict[str, str]:
    """Parses "--flag value" and "--flag=value"."""
    try:
        words = command_line.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    joined = (word.partition("=") for word in words if word.startswith("--") and "=" in word)
    return dict(pairwise(words)) | {name: value for name, _, value in joined}


def end_processes(container_id: str, root: Path = Path("/")) -> bool:
    """Kills a container's processes and its shim, by the full container id; returns whether there were any.

    The shim has to end, too: containerd counts the task as existing while it lives. Raises ContainerFailed where the
    runner is not permitted to.
    """
    killed: list[str] = []
    forbidden: list[str] = []
    for process in (root / "proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if _is_of(process, container_id):
                (killed if _killed(process, container_id) else forbidden).append(process.name)
    if forbidden:
        raise _forbidden(container_id, f"it runs: end its processes as root (kill -9 {' '.join(forbidden)})")
    return bool(killed)


def _is_of(process: Path, container_id: str) -> bool:
    """Reports whether a process belongs to the container. A zombie has no command line and does not count."""
    program, *arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    if program and container_id in (process / "cgroup").read_text():
        return True
    return Path(program).name.startswith(_SHIM) and ("-id", container_id) in pairwise(arguments)


def _killed(process: Path, container_id: str) -> bool:
    """Kills a process; False if that is not permitted."""
    descriptor = os.pidfd_open(int(process.name))
    try:
        if _is_of(process, container_id):  # the pid was not reused before it was opened
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove(folder: Path, container_id: str) -> None:
    """Removes a flat folder.

    Not recursive: were the container's files mounted inside, they would survive. No symlinks.
    """
    try:
        with _opened(folder.parent) as parent, _opened(Path(container_id), parent) as inside:
            for name in os.listdir(inside):  # noqa: PTH208 — of an open folder
                if stat.S_ISDIR(os.stat(name, dir_fd=inside, follow_symlinks=False).st_mode):
                    os.rmdir(name, dir_fd=inside)
                else:
                    os.unlink(name, dir_fd=inside)
            os.rmdir(container_id, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _forbidden(
            container_id, f"{folder} is left of it ({error.strerror}): unmount what is in it, remove it as root"
        ) from None


@contextmanager
def _opened(folder: Path, parent: int | None = None) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield handle
    finally:
        os.close(handle)


def _forbidden(container_id: str, what: str) -> ContainerFailed:
    return ContainerFailed(
        f"container {container_id[:12]}: Docker was killed while it started this container and does not know that "
        f"{what},"
        " then start the session again"
    )
