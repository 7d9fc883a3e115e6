"""The folder of the private socket: accessible to this account only."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from netvps.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def make_private(path: Path) -> None:
    """Makes the folder, accessible to this account only, and removes a stale socket. Raises OSError, ConfigError."""
    folder = path.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigError(f"{folder} is not a folder of this account alone (mode 0700): remove it")
    path.unlink(missing_ok=True)
