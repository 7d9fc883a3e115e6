"""The world's time and randomness, handed to services that take both as arguments."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from netvps.domain.uid import make_uid


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def new_uid() -> str:
    """An id that was never given."""
    return make_uid(time.time_ns() // 1_000_000, secrets.randbits(24))
