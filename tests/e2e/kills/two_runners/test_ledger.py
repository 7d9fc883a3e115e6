"""The judge of the storm over two machines notices what is lost, and what came back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from netvps.domain.snapshot.snapshot import Snapshot, SnapshotCause
from tests.e2e.kills.two_runners.ledger import LINE, Ledger

FIRST, SECOND = {"first": LINE, "files/first.1": "a"}, {"second": LINE, "files/second.1": "b"}


def _snapshot(taken: datetime) -> Snapshot:
    return Snapshot("n", "s", "dev1", "alice", "n", SnapshotCause.STOP, taken, taken, ready_time=taken)


def test_after_a_restore_older_lines_are_required_and_newer_ones_forbidden() -> None:
    ledger, snapshot = Ledger(), _snapshot(datetime.now(UTC))
    ledger.acknowledge("s", FIRST)
    ledger.taken(snapshot)
    ledger.acknowledge("s", SECOND)
    ledger.restored("s", ledger.held_by(snapshot))
    assert (ledger.required("s"), ledger.undone("s")) == (FIRST, {"second"})
    ledger.copied("s", FIRST | SECOND)  # a newer copy may hold them
    assert (ledger.required("s"), ledger.undone("s")) == (FIRST | SECOND, set())


def test_a_snapshot_of_another_time_holds_what_was_required_all_around_it() -> None:
    ledger, now = Ledger(), datetime.now(UTC)
    ledger.acknowledge("s", FIRST)
    assert ledger.held_by(_snapshot(now + timedelta(minutes=1))) == FIRST
    assert ledger.held_by(_snapshot(now)) == {}  # it may be from before
    assert ledger.held_by(_snapshot(now - timedelta(minutes=1))) == {}
    assert not ledger.knows(_snapshot(now))
