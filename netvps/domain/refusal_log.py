"""Bounds what refusals write into a log: for each source one line at once, then one with their number a minute.

However many sources there are, an interval has a bounded number of lines: the sources with the most refusals are
named, the others are counted in one line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

INTERVAL: Final = 60.0
"""Seconds."""
LINES: Final = 50
"""Lines an interval that are written at once, and again as many that sum up."""
SOURCES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Refusals:
    """What an interval had beyond what was written at once. `source` is empty in the line about all others."""

    source: str
    count: int
    sources: int = 1


class RefusalLog:
    """Counts refusals; the caller writes the lines, and calls `summary` once an interval."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._beyond = 0
        """Refusals of sources that the table had no room for."""

    def note(self, source: str) -> bool:
        """Whether this refusal is to be written now; it is counted otherwise."""
        if source not in self._seen and len(self._seen) < LINES:
            self._seen.add(source)
            return True
        if source in self._counts or len(self._counts) < SOURCES:
            self._counts[source] += 1
        else:
            self._beyond += 1
        return False

    def summary(self) -> list[Refusals]:
        """What is to be written at the end of an interval; the next one begins."""
        named = self._counts.most_common(LINES)
        lines = [Refusals(source, count) for source, count in named]
        rest = self._counts.total() - sum(count for _, count in named) + self._beyond
        if rest:
            lines.append(Refusals("", rest, len(self._counts) - len(named) + (1 if self._beyond else 0)))
        self._seen.clear()
        self._counts.clear()
        self._beyond = 0
        return lines
