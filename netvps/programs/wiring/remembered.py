"""The flags of `netvps up`, stored for the next start: by hand, by `scripts/up` after an update, or after a reboot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netvps.config import REMEMBERED, paths, remembered_flags
from netvps.files import write_file
from netvps.settings import PREFIX, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netvps.settings.loading import S

_PLACE: Final = "state_dir"
"""Not stored: it is where the file is."""
CONFIG: Final = "config"
"""Stored although it is no setting: the path of the configuration file."""


def forget(state_dir: str | None) -> None:
    """Removes the file."""
    (paths(state_dir, "/").state / REMEMBERED).unlink(missing_ok=True)


def recall(state_dir: str | None) -> dict[str, str]:
    """The flags of earlier starts, and the configuration file unless the environment names one."""
    found = remembered_flags(paths(state_dir, "/").state)
    if PREFIX + CONFIG.upper() in os.environ:
        found.pop(CONFIG, None)
    return found


def load_remembered(kind: type[S], flags: Mapping[str, Any], config: Path | None) -> S:
    """The settings for a command beside `netvps up` on the same machine, including the flags of `netvps up`."""
    earlier = recall(flags.get("state_dir"))
    kept = earlier.pop(CONFIG, None)
    return load(kind, flags, config or (Path(kept) if kept else None), remembered=earlier)


def remember(state: Path, flags: Mapping[str, str]) -> None:
    """Replaces the file. Secrets are never flags, so it contains none."""
    kept = {name: value for name, value in flags.items() if name != _PLACE}
    write_file(state / REMEMBERED, json.dumps({"flags": kept}, indent=2).encode() + b"\n")


def words(flags: Mapping[str, str]) -> str:
    """Flags as they are typed: "--listen 0.0.0.0 --ssh-port 22"."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in sorted(flags.items()) if name != _PLACE)
