"""Which run of a session was the last one that was reported."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from netvps.domain.session.kept import LastRun
from netvps.domain.session.session import SnapshotImage


def taken(generation: int) -> SnapshotImage:
    return SnapshotImage("s", "u", "i:1", "sha256:1", 1, 1, "here", generation, datetime(2026, 11, 21, tzinfo=UTC))


@pytest.mark.parametrize(("snapshot", "latest"), [(None, True), (taken(2), True), (taken(3), True), (taken(4), False)])
def test_a_snapshot_of_a_later_stop_says_more(snapshot: SnapshotImage | None, latest: bool) -> None:
    assert LastRun("c1", 3).is_latest(snapshot) is latest
