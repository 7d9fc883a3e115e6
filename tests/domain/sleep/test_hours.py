"""Awake hours, and when they end."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from netvps.domain.sleep.hours import AwakeHours
from netvps.errors import InvalidInput

MONDAY = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "end"),
    [
        ("08:00-18:00", MONDAY, datetime(2026, 5, 4, 18, 0, tzinfo=UTC)),
        ("08:00-18:00", MONDAY.replace(hour=18), datetime(2026, 5, 5, 18, 0, tzinfo=UTC)),
        ("22:00-06:00", MONDAY, datetime(2026, 5, 5, 6, 0, tzinfo=UTC)),
        ("22:00-06:00", MONDAY.replace(hour=2), datetime(2026, 5, 4, 6, 0, tzinfo=UTC)),
        ("08:00-00:00", MONDAY, datetime(2026, 5, 5, 0, 0, tzinfo=UTC)),
        ("mon-fri 08:00-18:00", MONDAY.replace(day=8, hour=19), datetime(2026, 5, 11, 18, 0, tzinfo=UTC)),
        ("mon 08:00-18:00", MONDAY.replace(hour=18), datetime(2026, 5, 11, 18, 0, tzinfo=UTC)),
        ("sat-mon 08:00-18:00", MONDAY.replace(hour=18), datetime(2026, 5, 9, 18, 0, tzinfo=UTC)),
        ("wed,fri 20:00-02:00", MONDAY, datetime(2026, 5, 7, 2, 0, tzinfo=UTC)),
        ("sun 20:00-02:00", MONDAY.replace(hour=1), datetime(2026, 5, 4, 2, 0, tzinfo=UTC)),
    ],
)
def test_the_next_end_of_a_window(text: str, after: datetime, end: datetime) -> None:
    hours = AwakeHours.parse(text, "awake_hours")
    assert hours is not None
    assert hours.next_end(after) == end


@pytest.mark.parametrize(
    "text",
    ["8-18", "08:00", "24:00-08:00", "08:60-09:00", "moon 08:00-18:00", "mon- 08:00-18:00", "08:00-08:00", "x" * 99],
)
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="awake_hours: "):
        AwakeHours.parse(text, "awake_hours")


def test_no_hours_are_none() -> None:
    assert AwakeHours.parse("", "awake_hours") is None
