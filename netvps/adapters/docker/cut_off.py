"""A start that was cut off: Docker was killed when it had begun to start a container, and had not noted it.

Its successor holds the container for one that does not run, and cannot start it. What is in the way is known to nobody
but containerd, and goes; then the start works:

    task ID: already exists           a shim without a process, or both
    id already in use                 both, and containerd has noted it
    mkdir …/ID: file exists           a shim that containerd just starts, for the Docker that was killed; or the folder
                                      of one that ended before containerd could clean up after it
    given ID already exists           what runc notes of it; this goes with the try

The runner may be root, so nothing goes for what an error says alone: the caller has proved by name and labels that the
container is a session's, and a folder is removed only where this engine's containerd keeps that container, without
following a link. Otherwise the error says what to remove.
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
"""Seconds that the engine gets to hear of the end, from one try to the next."""
_SHIM: Final = "containerd-shim"
_TASKS: Final = "io.containerd.runtime.v2.task"
_SECONDS: Final = 5.0
_FOLDER: Final = re.compile(r"mkdir (/\S+/[0-9a-f]{64}): file exists")
_WORDS: Final = re.compile(
    r"task [0-9a-f]{64}: already exists|refused: id already in use|container with (given ID already|id) exists"
)


def was_cut_off(error: ContainerFailed) -> bool:
    """Whether a start was refused for this."""
    return bool(_WORDS.search(error.message) or _FOLDER.search(error.message))


def task_folders(base_url: str, root: Path = Path("/")) -> frozenset[Path]:
    """Folders in which the containerd of the engine at this socket keeps a folder for each container that runs.

    By the command line of the process that listens there; by Docker's defaults where that is systemd, or not known.
    """
    flags = _flags(root / "proc" / str(_listener(base_url)) / "cmdline")
    namespace = flags.get("--containerd-namespace", "moby")
    exec_root = Path(flags.get("--exec-root", "/var/run/docker"))
    states = (Path("/run/containerd"), exec_root / "containerd/daemon")
    return frozenset((state / _TASKS / namespace).resolve() for state in states)


def make_way(
    container_id: str, error: ContainerFailed, root: Path = Path("/"), *, folders: Collection[Path] = ()
) -> None:
    """Ends or removes what is in the way of a start that was refused like this; `container_id` is the whole id.

    The folder only if nothing runs (else containerd cleans up itself, and better), and if it is in one of `folders`.
    Raises ContainerFailed, with the remedy, where it may not.
    """
    if end_processes(container_id, root):
        return
    if (found := _FOLDER.search(error.message)) and (folder := Path(found[1])).name == container_id:
        if folder.parent.resolve() not in folders:
            raise _forbidden(
                container_id,
                f"{folder} is left of it, which is not where the runner knows Docker to keep such: if nothing of the"
                " container runs, remove it as root",
            )
        _remove(folder, container_id)


def _listener(base_url: str) -> int:
    """Pid of the process that listens on the engine's socket; 0 if that is not known."""
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(_SECONDS)
            asked.connect(base_url.removeprefix("unix://"))
            pid, _, _ = struct.unpack("3i", asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return 0
    return int(pid)


def _flags(command_line: Path) -> dict[str, str]:
    """Flags with their values, as "--flag value" or "--flag=value"."""
    try:
        words = command_line.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    joined = (word.partition("=") for word in words if word.startswith("--") and "=" in word)
    return dict(pairwise(words)) | {name: value for name, _, value in joined}


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
    return Path(program).name.startswith(_SHIM) and ("-id", container_id) in pairwise(arguments)


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
    """No tree is removed: should the container's files be mounted in there, they stay. No link is followed."""
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
            container_id, f"{folder} is left of it ({error.strerror}): unmount what is in there, remove it as root"
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
        f"container {container_id[:12]}: Docker was killed while it started this, and does not know that {what}, and"
        " start the session again"
    )
