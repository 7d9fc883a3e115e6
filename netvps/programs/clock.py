"""The world's time and randomness, handed to services that take both as arguments."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from netvps.domain.uid import make_uid


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class _Uids:
    """Ids in the order of their making, also where the clock is set back meanwhile."""

    def __init__(self) -> None:
        self._latest = 0

    def __call__(self) -> str:
        self._latest = max(self._latest + 1, time.time_ns() // 1_000_000)
        return make_uid(self._latest, secrets.randbits(24))


new_uid = _Uids()
"""An id that was never given; a later one of this process is greater."""
