from __future__ import annotations

from datetime import UTC, datetime

from netvps.domain.names import SessionName
from netvps.domain.session.lifecycle import assignment, new_session, settled
from netvps.domain.session.session import Author, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.orders import clone, fail_unplaced, finish_order, order_snapshot, revert
from netvps.domain.snapshot.snapshot import Restore, SnapshotOrder, SnapshotSource

NOW = datetime(2026, 11, 30, tzinfo=UTC)
SESSION = new_session("a" * 13, SessionName("alice", "dev1"), SessionSpec(cpus=2), NOW)


def test_there_is_one_order_per_snapshot_and_the_latest_counts() -> None:
    session = order_snapshot(SESSION, SnapshotOrder("one"), NOW)
    session = order_snapshot(session, SnapshotOrder("two"), NOW)
    session = order_snapshot(session, SnapshotOrder("one", delete=True), NOW)
    assert session.snapshot_orders == (SnapshotOrder("two"), SnapshotOrder("one", delete=True))
    assert finish_order(session, "two").snapshot_orders == (SnapshotOrder("one", delete=True),)
    assert assignment(session).snapshot_orders == session.snapshot_orders


def test_a_restore_is_a_new_generation_of_the_same_desired_state() -> None:
    restore = Restore("r", "one", "two", NOW)
    session = revert(SESSION, restore, NOW)
    assert (session.generation, session.desired) == (SESSION.generation + 1, SESSION.desired)
    assert assignment(session).restore == restore
    assert not settled(session)


def test_a_clone_has_the_spec_and_nothing_else_of_its_source() -> None:
    source = SnapshotSource("one", SESSION.uid, "dev1.alice/one")
    made = clone(SESSION, "b" * 13, SessionName("alice", "dev2"), snapshot=source, now=NOW, by=Author("alice"))
    assert (made.spec, made.uid, made.name, made.runner) == (SESSION.spec, "b" * 13, "dev2", "")
    assert made.awaits == "one"
    failed = fail_unplaced(made, "snapshot", "gone", NOW)
    assert failed.state is SessionState.FAILED
    assert settled(failed)
