"""A runner's identity, paths and timings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netvps.errors import ConfigError

# A socket's path has at most 107 bytes (unix(7)): RUN/SESSION_UID/tunnel.sock.
_MAX_RUN_DIR = 107 - len("/0123456789abc/tunnel.sock")


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """Settings of a runner. Raises ConfigError if the runtime folder's path is too long for a socket in it."""

    uid: str
    name: str
    version: str
    state_dir: Path
    """Persistent: assignments, agents, logs."""
    run_dir: Path
    """On tmpfs: files for sessions' agents, and their sockets."""
    agent: Path
    """The agent's program, to copy into the state folder."""
    tunnel_address: str
    """HOST:PORT of the control plane's :7444, as this machine reaches it."""
    look_every: float = 30.0
    """Seconds between inspections of a session without events."""
    orphan_grace: float = 60.0
    """Seconds before an orphan is removed."""
    lacks: frozenset[str] = frozenset()
    """Capabilities (domain.runner.runner) that this machine, or this process, does not have."""
    labels: tuple[str, ...] = ()
    """KEY=VALUE, for the server."""

    def __post_init__(self) -> None:
        if len(str(self.run_dir).encode()) > _MAX_RUN_DIR:
            raise ConfigError(
                f"the path of the runtime folder {self.run_dir} is too long for a socket in it; "
                f"use one of at most {_MAX_RUN_DIR} characters"
            )
