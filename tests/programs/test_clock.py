from __future__ import annotations

from datetime import UTC

from netvps.domain.uid import UID_LENGTH
from netvps.programs import clock


def test_time_is_in_utc() -> None:
    assert clock.now().tzinfo is UTC


def test_ids_differ_and_are_ordered_by_time() -> None:
    ids = {clock.new_uid() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(uid) for uid in ids} == {UID_LENGTH}
