"""What a session's snapshots leave out, when they are taken by themselves, and how many copies they have; pure.

A schedule divides time into slots, and each slot has one snapshot, so that nothing but the snapshots has to be
remembered: a server that was away takes the one of the present slot, and no earlier one. Slots of different sessions
begin at different times, so that a runner is not asked for all of them at once.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from netvps.domain.checks import Checks, shown

DEFAULT_KEEP: Final = 7
"""Scheduled snapshots that are kept."""
MAX_COPIES: Final = 16
_MAX_KEEP: Final = 1000
_MIN_EVERY, _MAX_EVERY = 900.0, 30 * 86_400.0
_MAX_AGE: Final = 10 * 365 * 86_400.0
_DAILY: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_MAX_EXCLUDED, _MAX_PATH = 32, 255
_DAY: Final = 86_400
_SPREAD: Final = 600
"""Seconds over which daily snapshots of sessions are spread."""


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """All parameters are optional. Raises InvalidInput with all violations."""

    excluded_paths: tuple[str, ...] = ()
    """Absolute paths; what is below them is left out, the folders themselves are not."""
    every: float = 0.0
    """Seconds between snapshots; 0: no schedule."""
    daily_at: str = ""
    """"HH:MM" in UTC; not with `every`."""
    keep: int = 0
    """How many scheduled snapshots are kept; 0: the default."""
    max_age: float = 0.0
    """Seconds after which a scheduled snapshot is deleted; 0: none is for its age. The latest one stays."""
    copies: int = 0
    """On how many runners each of its snapshots should be; 0: the server's default."""

    def __post_init__(self) -> None:
        checks = Checks()
        checks.require(len(self.excluded_paths) <= _MAX_EXCLUDED, "excluded_paths", f"more than {_MAX_EXCLUDED} paths")
        for index, path in enumerate(self.excluded_paths[:_MAX_EXCLUDED]):
            checks.require(
                _is_path(path),
                f"excluded_paths[{index}]",
                f"{shown(path)} is no absolute path of a folder below / without '.', '..', wildcards and a final "
                f"slash, up to {_MAX_PATH} characters",
            )
        checks.require(
            self.every == 0 or _MIN_EVERY <= self.every <= _MAX_EVERY,
            "every",
            f"{self.every:g} seconds are not between 15 minutes and 30 days; 0 means no schedule",
        )
        checks.require(
            not self.daily_at or bool(_DAILY.fullmatch(self.daily_at)),
            "daily_at",
            f"{shown(self.daily_at)} is no time of the day in UTC, HH:MM",
        )
        checks.require(not (self.every and self.daily_at), "daily_at", "give either every or daily_at")
        checks.require(0 <= self.keep <= _MAX_KEEP, "keep", f"{self.keep} is not between 1 and {_MAX_KEEP}")
        checks.require(
            self.max_age == 0 or _MIN_EVERY <= self.max_age <= _MAX_AGE,
            "max_age",
            f"{self.max_age:g} seconds are not between 15 minutes and 10 years; 0 means no limit",
        )
        checks.require(0 <= self.copies <= MAX_COPIES, "copies", f"{self.copies} is not between 1 and {MAX_COPIES}")
        checks.done()

    @property
    def scheduled(self) -> bool:
        """Whether snapshots are taken by a schedule."""
        return bool(self.every or self.daily_at)

    def slot_begin(self, session_uid: str, now: datetime) -> datetime | None:
        """When the present slot of a session began; None without a schedule."""
        if not self.scheduled:
            return None
        length = int(self.every) or _DAY
        hours, _, minutes = self.daily_at.partition(":")
        begin = int(hours) * 3600 + int(minutes) * 60 if self.daily_at else 0
        spread = _SPREAD if self.daily_at else length
        offset = begin + zlib.crc32(session_uid.encode()) % spread
        seconds = int(now.timestamp()) - offset
        return datetime.fromtimestamp(seconds - seconds % length + offset, UTC)


def is_due(policy: SnapshotPolicy, session_uid: str, *, last: datetime | None, began: datetime, now: datetime) -> bool:
    """Whether a scheduled snapshot is due, given when the last one was requested, and since when the policy may hold.

    A session that was created within the slot waits for the next one: there is little to save yet.
    """
    begin = policy.slot_begin(session_uid, now)
    if begin is None or began + timedelta(seconds=1) > begin:
        return False
    return last is None or last < begin


def _is_path(path: str) -> bool:
    parts = path.split("/")[1:]
    return (
        path.startswith("/")
        and len(path) <= _MAX_PATH
        and path.isprintable()
        and not set("*?[]\\,") & set(path)
        and all(part not in {"", ".", ".."} for part in parts)
    )
