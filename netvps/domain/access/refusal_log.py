"""Rate-limits log lines about refusals: per source one line at once, then one line a minute with their number.

The number of lines per interval is bounded for any number of sources: the sources with the most refusals are named,
all others are summed up in one line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

INTERVAL: Final = 60.0
"""Seconds."""
LINES: Final = 50
"""Lines per interval that are written at once, and the same number of summary lines."""
SOURCES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Refusals:
    """The refusals of an interval that were not logged at once. `source` is empty in the line about all others."""

    source: str
    count: int
    sources: int = 1


class RefusalLog:
    """Counts refusals. The caller writes the log lines, and calls `summary` once per interval."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._beyond = 0
        """Refusals of sources for which the table had no room."""

    def note(self, source: str) -> bool:
        """Returns whether to log this refusal now; otherwise counts it."""
        if source not in self._seen and len(self._seen) < LINES:
            self._seen.add(source)
            return True
        if source in self._counts or len(self._counts) < SOURCES:
            self._counts[source] += 1
        else:
            self._beyond += 1
        return False

    def summary(self) -> list[Refusals]:
        """Returns the summary lines of the interval and starts the next one."""
        named = self._counts.most_common(LINES)
        lines = [Refusals(source, count) for source, count in named]
        rest = self._counts.total() - sum(count for _, count in named) + self._beyond
        if rest:
            lines.append(Refusals("", rest, len(self._counts) - len(named) + (1 if self._beyond else 0)))
        self._seen.clear()
        self._counts.clear()
        self._beyond = 0
        return lines
