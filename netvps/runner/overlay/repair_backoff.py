"""Backoff of repairs, for when another program undoes them as fast: neither may use up the CPU."""

from __future__ import annotations

_FIRST, _LONGEST = 0.05, 5.0
_CALM = 1.0


class RepairBackoff:
    """Pauses between repairs: short at first, doubling while repairs follow each other."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._pause = 0.0

    def pause(self, now: float) -> float:
        """Returns the seconds to wait after a repair at `now` (seconds of any clock)."""
        calm = now - self._last > self._pause + _CALM
        self._pause = _FIRST if calm else min(_LONGEST, 2 * self._pause)
        self._last = now
        return self._pause
