"""Locks on state folders, so that a program runs there only once."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_WIDTH: Final = 10


@contextmanager
def hold(file: Path, program: str) -> Iterator[None]:
    """Holds the lock `file` for the block; the kernel releases it however this process ends.

    Raises ConfigError if another process holds it. The file is not removed, because that would race with the next
    start.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, _WIDTH, 0).decode(errors="replace").strip()
            raise ConfigError(
                f"{program} already runs on {file.parent} (process {owner or 'unknown'}): stop that one first, or"
                " choose other folders with --state-dir and --runtime-dir",
                reason="ALREADY_RUNNING",
            ) from None
        os.pwrite(descriptor, f"{os.getpid():<{_WIDTH}}\n".encode(), 0)  # one write, so that readers never see a part
        yield
    finally:
        os.close(descriptor)
