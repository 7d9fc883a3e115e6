"""Hours in which a session may be awake: a window of the day, on some days of the week, in UTC; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from netvps.domain.checks import shown
from netvps.errors import InvalidInput

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = r"([01][0-9]|2[0-3]):([0-5][0-9])"
_FORM: Final = re.compile(rf"(?:([a-z,-]+) )?{_CLOCK}-{_CLOCK}")
_REMEDY: Final = (
    "is no time of the day in UTC: give for example 08:00-18:30, mon-fri 08:00-18:30 or mon,wed 22:00-06:00"
)


@dataclass(frozen=True, slots=True)
class AwakeHours:
    """Minutes of the day; a window whose end is not after its begin lasts until the next day."""

    days: frozenset[int]
    """On which it begins; 0 is Monday."""
    begin: int
    end: int

    @classmethod
    def parse(cls, text: str, field: str) -> Self | None:
        """Parses "[DAYS ]HH:MM-HH:MM", with DAYS such as mon-fri or mon,wed; None for ''. Raises InvalidInput."""
        if not text:
            return None
        match = _FORM.fullmatch(text)
        days = _days(match[1]) if match else frozenset()
        if match is None or not days:
            raise InvalidInput.of(field, f"{shown(text)} {_REMEDY}")
        begin, end = (int(match[at]) * 60 + int(match[at + 1]) for at in (2, 4))
        if begin == end:
            raise InvalidInput.of(field, f"{shown(text)} begins and ends at the same time")
        return cls(days, begin, end)

    def next_end(self, after: datetime) -> datetime:
        """The first end of a window after a moment."""
        midnight = after.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for day in range(-1, 9):  # a window of yesterday may end today, and one of today in a week
            begin = midnight + timedelta(days=day)
            end = begin + timedelta(days=self.end <= self.begin, minutes=self.end)
            if begin.weekday() in self.days and end > after:
                return end
        raise AssertionError("a week has no end of a window")  # pragma: no cover — days are not empty


def _days(text: str | None) -> frozenset[int]:
    """The days of "mon-fri,sun"; none if the text is not like that."""
    if not text:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            return frozenset()
        begin = _DAYS.index(first)
        length = (_DAYS.index(last) - begin) % 7 + 1 if dash else 1
        found |= {(begin + offset) % 7 for offset in range(length)}
    return frozenset(found)
