from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.domain.snapshot.retention import KEEP_REPLACED, superfluous
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotCause, SnapshotState

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def _taken(
    number: int, cause: SnapshotCause = SnapshotCause.STOP, state: SnapshotState = SnapshotState.READY
) -> Snapshot:
    """Snapshot number 1, 2, …: one an hour, the last one an hour ago."""
    time = NOW - timedelta(hours=10 - number)
    return Snapshot(f"{number:013}", "s" * 13, "dev1", "alice", f"n{number}", cause, time, time, state)


def _ids(snapshots: list[Snapshot]) -> list[str]:
    return sorted(snapshot.id for snapshot in snapshots)


def test_the_latest_stops_are_kept() -> None:
    taken = [_taken(number) for number in range(1, 5)]
    assert _ids(superfluous(taken, SessionSpec(), (), NOW)) == ["n1", "n2", "n3"]
    assert _ids(superfluous(taken, SessionSpec(snapshot_keep=3), (), NOW)) == ["n1"]


def test_what_was_asked_for_is_never_deleted() -> None:
    taken = [_taken(number, SnapshotCause.REQUEST) for number in range(1, 9)]
    assert superfluous(taken, SessionSpec(snapshot_max_age=60), (), NOW) == []


def test_states_that_restores_replaced_are_kept_longer() -> None:
    taken = [_taken(number, SnapshotCause.RESTORE) for number in range(1, KEEP_REPLACED + 2)]
    assert _ids(superfluous(taken, SessionSpec(), (), NOW)) == ["n1"]


def test_a_pinned_one_and_one_in_use_stay() -> None:
    taken = [replace(_taken(1), pinned=True), _taken(2), _taken(3), _taken(4)]
    assert _ids(superfluous(taken, SessionSpec(), {taken[1].uid}, NOW)) == ["n3"]


def test_age_deletes_even_the_last_one() -> None:
    taken = [_taken(1), _taken(9)]
    spec = SessionSpec(snapshot_keep=5, snapshot_max_age=2 * 3600)
    assert _ids(superfluous(taken, spec, (), NOW)) == ["n1"]
    assert _ids(superfluous(taken, spec, (), NOW + timedelta(days=1))) == ["n1", "n9"]


@pytest.mark.parametrize("state", [SnapshotState.CREATING, SnapshotState.DELETING])
def test_what_is_in_progress_is_left_alone(state: SnapshotState) -> None:
    assert superfluous([_taken(1, state=state), _taken(2)], SessionSpec(), (), NOW) == []


def test_one_that_failed_replaces_no_good_one() -> None:
    assert superfluous([_taken(1), _taken(2, state=SnapshotState.FAILED)], SessionSpec(), (), NOW) == []


def test_scheduled_ones_have_a_number_and_an_age_of_their_own_and_the_latest_stays() -> None:
    taken = [_taken(number, SnapshotCause.SCHEDULE) for number in range(1, 10)]
    assert _ids(superfluous(taken, SessionSpec(snapshot_keep=1), (), NOW)) == ["n1", "n2"]
    spec = SessionSpec(snapshot_policy=SnapshotPolicy(keep=3))
    assert _ids(superfluous(taken, spec, (), NOW)) == [f"n{number}" for number in range(1, 7)]
    aged = SessionSpec(snapshot_policy=SnapshotPolicy(max_age=900.0))
    assert _ids(superfluous(taken, aged, (), NOW)) == [f"n{number}" for number in range(1, 9)]
