"""What is said of a bug of netvps itself: one line for the person, the traceback into a log that only they read."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LOG_MAX = 1 << 20


def report(error: BaseException) -> str:
    """Writes the traceback down and returns the line; with NETVPS_DEBUG set it is printed as well."""
    details = "".join(traceback.format_exception(error))
    if os.environ.get("NETVPS_DEBUG"):
        import sys

        print(details, file=sys.stderr, end="")
    what = f"a bug of netvps: {type(error).__name__}: {error}"
    try:
        where = _write(details)
    except Exception:  # noqa: BLE001 — there is a worse error to tell of
        return f"{what}; NETVPS_DEBUG=1 shows more"
    return f"{what}; details are in {where}, and NETVPS_DEBUG=1 shows them"


def _write(details: str) -> Path:
    from netvps.config import paths

    folder = paths().state / "log"
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    log = folder / "cli.log"
    full = log.exists() and log.stat().st_size > _LOG_MAX
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if full else os.O_APPEND)
    with os.fdopen(os.open(log, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{datetime.now(UTC).isoformat()}\n{details}\n")
    return log
