"""A clock for deadlines of tests that run beside other work: it slows down while other programs have the processors.

What takes a program seconds on an idle machine takes minutes with a hundredth of a processor. A deadline by this clock
says how long it may take on an idle machine.
"""

from __future__ import annotations

import threading
import time
from typing import Final

EVERY: Final = 0.5
"""Seconds between two measurements."""
SAMPLE: Final = 0.005
"""Seconds of processor time that a measurement takes."""
SLOWEST: Final = 0.05
"""A second by this clock takes twenty at most, so that a deadline comes in any case."""


class FairClock:
    """`now` is in seconds and never goes back. Its thread ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fair, self._at, self._share = 0.0, time.monotonic(), 1.0
        self._started = False

    def now(self) -> float:
        """Seconds since the first call, as far as a program had a processor in them."""
        with self._lock:
            if not self._started:
                self._started = True
                threading.Thread(target=self._measure, name="fair clock", daemon=True).start()
            return self._advance()

    def _advance(self) -> float:
        now = time.monotonic()
        self._fair += (now - self._at) * self._share
        self._at = now
        return self._fair

    def _measure(self) -> None:
        while True:
            time.sleep(EVERY)
            began, used = time.monotonic(), time.thread_time()
            while time.thread_time() - used < SAMPLE:
                pass
            share = (time.thread_time() - used) / max(time.monotonic() - began, SAMPLE)
            with self._lock:
                self._advance()
                self._share = min(1.0, max(SLOWEST, share))


FAIR: Final = FairClock()
