"""Texts of a filter compare as what they stand for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.filter.expression import caseless, time_text

_zones = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
_times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=_zones)


@given(_times, _times)
def test_texts_of_times_compare_as_times(one: datetime, other: datetime) -> None:
    assert (time_text(one) < time_text(other)) == (one < other)
    assert (time_text(one) == time_text(other)) == (one == other)


def test_a_fraction_comes_after_the_second() -> None:
    second = datetime(2026, 5, 4, tzinfo=UTC)
    assert time_text(second) < time_text(second + timedelta(microseconds=1)) < time_text(second + timedelta(seconds=1))


def test_only_latin_letters_have_no_case() -> None:
    assert caseless("ÄBc") == "Äbc"
