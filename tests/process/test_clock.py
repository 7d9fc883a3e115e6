from __future__ import annotations

from datetime import UTC

import pytest

from netvps.domain.uid import UID_LENGTH
from netvps.process import clock


def test_time_is_in_utc() -> None:
    assert clock.now().tzinfo is UTC


def test_ids_stay_in_order_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = clock.new_uid()
    monkeypatch.setattr("time.time_ns", lambda: 1_750_000_000 * 10**9)
    assert clock.new_uid() > first


def test_ids_differ_and_are_ordered_by_time() -> None:
    ids = [clock.new_uid() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {len(uid) for uid in ids} == {UID_LENGTH}
