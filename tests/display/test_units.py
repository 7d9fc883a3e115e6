"""Sizes and times, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from netvps.display.units import age, duration_words, moment_words, parse_size, size_words

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(("size", "words"), [(0, "0"), (512, "512"), (1536, "1.5K"), (5 << 50, "5120T")])
def test_sizes_are_read_back(size: int, words: str) -> None:
    assert size_words(size) == words
    assert parse_size(words) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "2X", "two"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_times() -> None:
    assert [age(NOW - timedelta(seconds=seconds), NOW) for seconds in (-5, 59, 60, 7200, 90_000)] == [
        "0s",
        "59s",
        "1m",
        "2h",
        "1d",
    ]
    assert [duration_words(seconds) for seconds in (0.05, 90, 3600, 3661)] == ["0.05s", "1m30s", "1h", "1h1m1s"]
    assert datetime.fromisoformat(moment_words(NOW)) == NOW
