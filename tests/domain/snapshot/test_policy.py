"""What snapshots leave out, and when they are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.snapshot.policy import SnapshotPolicy, is_due
from netvps.errors import InvalidInput

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
BEFORE = NOW - timedelta(days=90)
HOURLY, NIGHTLY = SnapshotPolicy(every=3600.0), SnapshotPolicy(daily_at="02:30")
UIDS = [f"{number:013d}" for number in range(200)]


@pytest.mark.parametrize(
    "path", ["", "/", "var", "/var/", "/a//b", "/../etc", "/a/./b", "/a/*", "/a\n", "/a,b", "/" + "x" * 255]
)
def test_a_path_that_says_something_else_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match=r"excluded_paths\[0\]"):
        SnapshotPolicy((path,))


def test_all_violations_are_reported_at_once() -> None:
    with pytest.raises(InvalidInput) as failed:
        SnapshotPolicy(("/var/cache", "x"), every=1, daily_at="25:00", keep=-1, max_age=1)
    fields = [violation.field for violation in failed.value.violations]
    assert fields == ["excluded_paths[1]", "every", "daily_at", "daily_at", "keep", "max_age"]


@given(st.sampled_from([HOURLY, NIGHTLY]), st.sampled_from(UIDS), st.integers(0, 5 * 86_400))
def test_every_moment_is_in_one_slot(policy: SnapshotPolicy, uid: str, seconds: int) -> None:
    now = NOW + timedelta(seconds=seconds)
    begin = policy.slot_begin(uid, now)
    assert begin is not None
    length = timedelta(seconds=policy.every or 86_400)
    assert begin <= now < begin + length
    assert policy.slot_begin(uid, begin) == begin
    assert policy.slot_begin(uid, begin + length) == begin + length


def test_sessions_are_spread_and_nightly_ones_stay_in_the_night() -> None:
    begins = {HOURLY.slot_begin(uid, NOW) for uid in UIDS}
    assert len(begins) > 150
    nightly = [NIGHTLY.slot_begin(uid, NOW) for uid in UIDS]
    assert {(one.hour, one.minute // 10) for one in nightly if one} == {(2, 3)}


def test_a_slot_has_one_snapshot_and_missed_slots_have_none() -> None:
    begin = HOURLY.slot_begin(UIDS[0], NOW)
    assert begin is not None
    for last, due in ((None, True), (begin - timedelta(hours=9), True), (begin, False), (NOW, False)):
        assert is_due(HOURLY, UIDS[0], last=last, began=BEFORE, now=NOW) is due
    assert not is_due(HOURLY, UIDS[0], last=None, began=NOW, now=NOW)  # a session that is new
    assert not is_due(SnapshotPolicy(), UIDS[0], last=None, began=BEFORE, now=NOW)
