"""The agent's program, kept by digest: an upgrade of netvps changes nothing under a running session."""

from __future__ import annotations

import hashlib
from pathlib import Path

from netvps.errors import ConfigError
from netvps.runner.files import write_file

_NAME = "agent"


def keep_agent(program: Path, state_dir: Path) -> Path:
    """Copies the program to STATE/agent/SHA256/agent unless it is there; returns that path. Raises ConfigError."""
    try:
        content = program.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the agent's program {program} cannot be read ({error.strerror}): "
            "build it with scripts/up, or reinstall netvps"
        ) from None
    kept = state_dir / "agent" / hashlib.sha256(content).hexdigest() / _NAME
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        write_file(kept, content, 0o755)
    return kept
