"""Time and randomness for services, which take both as arguments."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from netvps.domain.uid import make_uid


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


class _Uids:
    """Generates uids in increasing order, even if the clock is set back."""

    def __init__(self) -> None:
        self._latest = 0

    def __call__(self) -> str:
        self._latest = max(self._latest + 1, time.time_ns() // 1_000_000)
        return make_uid(self._latest, secrets.randbits(24))


new_uid = _Uids()
"""Returns a new unique id; later ones of this process are greater."""
