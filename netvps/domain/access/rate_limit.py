"""A limit of tries in time, of each source and of all together: token buckets in a bounded table.

The caller supplies the clock, in seconds of a monotonic one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SOURCES: Final = 10_000
"""Sources that are remembered; beyond it the least recently seen one is forgotten."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` tries at once, and as many again in `seconds`."""

    count: float
    seconds: float


class _Bucket:
    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate, self._left, self._at = rate, rate.count, now

    def wait(self, now: float) -> float:
        """Seconds until there is one."""
        rate = self._rate
        self._left = min(rate.count, self._left + max(0.0, now - self._at) * rate.count / rate.seconds)
        self._at = now
        return max(0.0, (1 - self._left) * rate.seconds / rate.count)

    def take(self) -> None:
        self._left -= 1


class RateLimit:
    """Counts tries."""

    def __init__(self, per_source: Rate, in_all: Rate) -> None:
        self._per_source = per_source
        self._in_all = _Bucket(in_all, 0.0)
        self._sources: dict[str, _Bucket] = {}

    def take(self, source: str, now: float) -> float:
        """Counts a try and returns 0; or, beyond the limit, the seconds until the next one, without counting it."""
        own = self._sources.pop(source, None) or _Bucket(self._per_source, now)
        self._sources[source] = own
        if len(self._sources) > SOURCES:
            del self._sources[next(iter(self._sources))]
        wait = max(own.wait(now), self._in_all.wait(now))
        if not wait:
            own.take()
            self._in_all.take()
        return wait
