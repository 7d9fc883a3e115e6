"""Keeps copies of the agent by digest, so that an upgrade of netvps changes nothing under a running session.

Copies of earlier versions are removed as soon as no container, running or not, mounts them.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from netvps.errors import ConfigError, NetvpsError
from netvps.files import write_file

_NAME = "agent"
_EVERY_SECONDS = 3600.0
_DIGEST = re.compile(r"[0-9a-f]{64}")
log = structlog.get_logger()


def keep_agent(program: Path, state_dir: Path) -> Path:
    """Copies the program to STATE/agent/SHA256/agent unless it exists; returns that path. Raises ConfigError."""
    try:
        content = program.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the agent's program {program}: {error.strerror}; "
            "build it with scripts/up, or reinstall netvps"
        ) from None
    kept = state_dir / "agent" / hashlib.sha256(content).hexdigest() / _NAME
    try:
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            write_file(kept, content, 0o755)
    except OSError as error:
        raise ConfigError(
            f"cannot copy the agent's program to {kept}: {error.strerror}; check the disk and its permissions"
        ) from None
    return kept


def drop_unused_agents(current: Path, mounted: frozenset[str]) -> None:
    """Removes copies other than `current` that are not among `mounted`, the host paths that containers mount.

    Compares digests, not paths: a folder may have several paths, and keeping a copy too many does no harm.
    """
    used = {part for path in mounted for part in Path(path).parts}
    for folder in sorted(current.parent.parent.iterdir()):
        if _DIGEST.fullmatch(folder.name) and folder != current.parent and folder.name not in used:
            log.info("removing an agent that no container uses any more", digest=folder.name[:12])
            shutil.rmtree(folder, ignore_errors=True)


async def keep_agents_few(current: Path, mounted: Callable[[], Awaitable[frozenset[str]]]) -> None:
    """Removes unused agents periodically, until cancelled; `mounted` returns the host paths that containers mount.

    Containers that mount an older agent are replaced one by one as they are stopped and started. New containers
    mount the current one, so an agent that is unused now stays unused.
    """
    while True:
        try:
            await asyncio.to_thread(drop_unused_agents, current, await mounted())
        except (NetvpsError, OSError) as error:
            log.info("cannot look for unused agents", error=str(error))
        await asyncio.sleep(_EVERY_SECONDS)
