"""The agent's program, kept by digest: an upgrade of netvps changes nothing under a running session.

What an upgrade leaves behind goes as soon as no container, running or not, mounts it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import structlog

from netvps.errors import ConfigError
from netvps.runner.files import write_file

_NAME = "agent"
_DIGEST = re.compile(r"[0-9a-f]{64}")
log = structlog.get_logger()


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
    try:
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            write_file(kept, content, 0o755)
    except OSError as error:
        raise ConfigError(f"the agent's program cannot be kept as {kept} ({error.strerror}): correct that") from None
    return kept


def drop_unused_agents(current: Path, mounted: frozenset[str]) -> None:
    """Removes copies beside `current` that are not among `mounted`, the host paths that containers mount.

    By digest, not by path: the same folder may be known by another one, and a copy too many harms nobody.
    """
    used = {part for path in mounted for part in Path(path).parts}
    for folder in sorted(current.parent.parent.iterdir()):
        if _DIGEST.fullmatch(folder.name) and folder != current.parent and folder.name not in used:
            log.info("an agent that no container uses any more is removed", digest=folder.name[:12])
            shutil.rmtree(folder, ignore_errors=True)
