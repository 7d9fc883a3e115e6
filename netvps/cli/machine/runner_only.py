"""A machine that is a runner of a server elsewhere: to start a server of its own there would be the wrong remedy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from netvps.errors import NetvpsError


def sentence(error: NetvpsError) -> str:
    """The error as one sentence; where no server answers on such a machine, it says which one to log in to."""
    if error.reason == "NO_SERVER" and "unix:" in error.message:
        from netvps.config import paths

        if host := server_of(paths().state):
            return (
                f"no netvps server runs on this machine, which is a runner of {host}: log in there, with an API key of"
                f" yours: `netvps login {host}`"
            )
    return str(error)


def server_of(state: Path) -> str:
    """The host of the server that this machine is a runner of; '' if it is no runner, or has a server of its own."""
    if (state / "netvps.db").exists() or (state / "up.pid").exists():
        return ""
    try:
        link = str(json.loads((state / "runner/identity").read_text(encoding="utf-8"))["link"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return link.rpartition(":")[0]
