"""What the words of the engine mean."""

from __future__ import annotations

from datetime import UTC, datetime

from netvps.adapters.docker.containers.containers import parse_time


def test_times_of_the_engine() -> None:
    expected = datetime(2026, 11, 21, 7, 12, 41, 123456, UTC)
    assert parse_time("2026-11-21T07:12:41.123456789Z") == expected
    assert parse_time("2026-11-21T08:12:41.123456+01:00") == expected
    assert parse_time("2026-11-21T07:12:41Z") == expected.replace(microsecond=0)
    assert parse_time("0001-01-01T00:00:00Z") is None
    assert parse_time(None) is None
