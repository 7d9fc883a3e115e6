"""Locates the agent's binary in the package, one per architecture."""

from __future__ import annotations

import platform
from importlib.resources import files
from pathlib import Path

from netvps.errors import ConfigError

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def agent_program(folder: Path | None = None, machine: str | None = None) -> Path:
    """The agent's binary for this machine, from `folder` or the package. Raises ConfigError with a remedy."""
    machine = machine or platform.machine()
    architecture = _ARCHITECTURES.get(machine)
    if architecture is None:
        raise ConfigError(f"there is no agent for {machine} machines: netvps runs on {', '.join(_ARCHITECTURES)}")
    folder = folder or Path(str(files("netvps"))) / "agents"
    program = folder / f"agent-linux-{architecture}"
    if not program.is_file():
        raise ConfigError(
            f"the agent's program {program} is missing: install netvps again (`scripts/up` in its source"
            " tree), which builds it"
        )
    return program
