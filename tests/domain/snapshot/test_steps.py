"""Which orders are due, by what is inspected: as a table, and through the plan of the session."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.session import plan, steps
from netvps.domain.session.container import Container, Observed, Status
from netvps.domain.session.kept import SavedFiles
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.saved import SavedSnapshot
from netvps.domain.snapshot.snapshot import (
    Restore,
    RestoreResult,
    RestoreState,
    SnapshotOrder,
    SnapshotResult,
    SnapshotSource,
    SnapshotState,
)
from netvps.domain.snapshot.steps import Clone, Drop, Revert, restore_result, snapshot_results

NOW = datetime(2026, 11, 30, tzinfo=UTC)
RUNNING, STOPPED = DesiredState.RUNNING, DesiredState.STOPPED
WANT = Assignment("u", "dev1", "ann", 1, 1, RUNNING, SessionSpec(image="debian:12"), None, 1)
ONE, TWO = (SavedSnapshot(uid, "run", "sha256:1", 7, NOW) for uid in ("one", "two"))
FAILED = SnapshotResult("two", SnapshotState.FAILED, "disk", "the disk is full")
RESTORE = Restore("r", "one", "two", NOW)
SOURCE = SnapshotSource("one", "other")
BOX = Container("c", Status.RUNNING, 1, started=NOW)
EXITED = replace(BOX, status=Status.EXITED)
HELD = replace(BOX, ending=True, held=True, files="/upper")
READABLE = replace(EXITED, files="/upper", ended=NOW)
AGAIN = replace(READABLE, started=NOW + timedelta(seconds=1))
COPIED = SavedFiles(HELD.run, "sha256:base", NOW)
RESTS = steps.Rest(SessionState.RUNNING, "", BOX)
PENDING = steps.Rest(SessionState.STOPPED, reason="snapshot_pending", message="taking its snapshot")
TAKES_ONE, TAKES_TWO, DROPS_ONE = SnapshotOrder("one"), SnapshotOrder("two"), SnapshotOrder("one", delete=True)


def _want(*orders: SnapshotOrder, desired: DesiredState = RUNNING, **more: object) -> Assignment:
    return replace(WANT, desired=desired, snapshot_orders=orders, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("assignment", "observed", "step"),
    [
        (_want(TAKES_ONE), Observed(BOX), steps.Take("one", BOX, RESTS)),
        (_want(TAKES_ONE), Observed(BOX, snapshots={"one": ONE}), RESTS),
        (_want(TAKES_TWO), Observed(BOX, failures={"two": FAILED}), RESTS),
        (_want(TAKES_ONE, desired=STOPPED), Observed(BOX), steps.Terminate(BOX)),
        (_want(TAKES_ONE, desired=STOPPED), Observed(), steps.Take("one", None, steps.Rest(SessionState.STOPPED))),
        # Once its files are copied, nothing more of the engine is waited for.
        (_want(TAKES_ONE, desired=STOPPED), Observed(HELD), steps.Copy(HELD)),
        (_want(TAKES_ONE, desired=STOPPED), Observed(HELD, files=COPIED), steps.Take("one", HELD, None)),
        (_want(TAKES_ONE, desired=STOPPED), Observed(READABLE, files=COPIED), steps.Take("one", READABLE, None)),
        (
            _want(TAKES_ONE, desired=STOPPED),
            Observed(READABLE, files=COPIED, snapshots={"one": ONE}),
            steps.Commit(READABLE, flatten=False),
        ),
        # Not of a copy that leaves out more than it should, or is of an earlier run, nor while another is taken.
        (
            _want(TAKES_ONE, desired=STOPPED),
            Observed(READABLE, files=replace(COPIED, excluded=("/cache",))),
            steps.Commit(READABLE, flatten=False),
        ),
        (_want(TAKES_ONE, desired=STOPPED), Observed(AGAIN, files=COPIED), steps.Copy(AGAIN)),
        (
            _want(TAKES_ONE, desired=STOPPED),
            Observed(READABLE, files=COPIED, taking="two"),
            steps.Commit(READABLE, flatten=False),
        ),
        # What cannot be read is tried at once, so that its owner learns why it fails, even if no image can be made.
        (_want(TAKES_ONE, desired=STOPPED), Observed(EXITED), steps.Take("one", EXITED, PENDING)),
        # What has not run here yet is what it is to be made from.
        (
            _want(TAKES_TWO, desired=STOPPED, source=SOURCE),
            Observed(),
            steps.Take("two", None, steps.Rest(SessionState.STOPPED), SOURCE),
        ),
        (
            _want(TAKES_TWO, desired=STOPPED, source=SOURCE, restore=RESTORE),
            Observed(snapshots={"one": ONE}),
            steps.Take("two", None, steps.Rest(SessionState.PREPARING), SOURCE),
        ),
        (_want(TAKES_ONE, source=SOURCE), Observed(BOX), steps.Take("one", BOX, RESTS)),
        (_want(DROPS_ONE), Observed(BOX, snapshots={"one": ONE}), Drop("one")),
        (_want(DROPS_ONE), Observed(BOX, snapshot_traces=frozenset({"one"})), Drop("one")),
        (_want(DROPS_ONE, desired=DesiredState.DELETED), Observed(BOX, snapshots={"one": ONE}), steps.Erase()),
        # A restore in place: stop, save the present state, then replace it.
        (_want(TAKES_TWO, restore=RESTORE), Observed(BOX, snapshots={"one": ONE}), steps.Terminate(BOX)),
        (
            _want(TAKES_TWO, restore=RESTORE),
            Observed(HELD, snapshots={"one": ONE}),
            steps.Take("two", HELD, steps.Rest(SessionState.PREPARING)),
        ),
        (_want(restore=RESTORE), Observed(HELD, snapshots={"one": ONE, "two": TWO}), steps.Terminate(HELD)),
        (_want(restore=RESTORE), Observed(HELD, snapshots={"one": ONE}, failures={"two": FAILED}), steps.Start(HELD)),
        (
            _want(TAKES_TWO, restore=RESTORE),
            Observed(EXITED, snapshots={"one": ONE}),
            steps.Take("two", EXITED, steps.Rest(SessionState.PREPARING)),
        ),
        (
            _want(restore=RESTORE),
            Observed(EXITED, snapshots={"one": ONE, "two": TWO}),
            Revert(RESTORE, EXITED),
        ),
        # Nothing is replaced where nothing is left: then a failure to save it does not matter.
        (_want(restore=RESTORE), Observed(snapshots={"one": ONE}, failures={"two": FAILED}), Revert(RESTORE, None)),
        # A clone comes from its snapshot, never from the image that its spec names.
        (_want(source=SOURCE), Observed(snapshots={"one": ONE}), Clone(SOURCE)),
        (_want(source=SOURCE), Observed(awaited=True), steps.Wait()),
    ],
)
def test_the_next_step(assignment: Assignment, observed: Observed, step: steps.Step) -> None:
    assert plan.next_step(assignment, observed) == step


def test_a_clone_without_its_snapshot_is_refused() -> None:
    step = plan.next_step(_want(source=SOURCE), Observed())
    assert isinstance(step, steps.Refuse)
    assert step.reason == "snapshot"


@pytest.mark.parametrize(
    ("observed", "state", "message"),
    [
        (Observed(replace(EXITED, restored="r")), RestoreState.DONE, ""),
        (Observed(EXITED), RestoreState.FAILED, "its files are not on this machine any more"),
        (Observed(EXITED, snapshots={"one": ONE}, failures={"two": FAILED}), RestoreState.FAILED, "the disk is full"),
        (Observed(replace(BOX, status=Status.DEAD), snapshots={"one": ONE}), RestoreState.FAILED, "Docker gave up"),
        (
            Observed(EXITED, snapshots={"one": ONE}, not_restored=RestoreResult("r", RestoreState.FAILED, "damaged")),
            RestoreState.FAILED,
            "damaged",
        ),
    ],
)
def test_a_restore_ends_done_or_with_the_session_as_it_was(
    observed: Observed, state: RestoreState, message: str
) -> None:
    result = restore_result(_want(restore=RESTORE), observed)
    assert result is not None
    assert (result.uid, result.state) == ("r", state)
    assert message in result.message
    step = plan.next_step(_want(restore=RESTORE), observed)
    assert not isinstance(step, Revert | steps.Take)


def test_results_are_of_orders_only_and_not_of_what_is_in_progress() -> None:
    assignment = _want(TAKES_ONE, TAKES_TWO, SnapshotOrder("gone", delete=True), SnapshotOrder("busy", delete=True))
    observed = Observed(BOX, snapshots={"one": ONE, "else": TWO}, failures={"two": FAILED}, taking="busy")
    assert snapshot_results(assignment, observed) == (
        SnapshotResult("one", SnapshotState.READY, size_bytes=7, digest="sha256:1"),
        FAILED,
        SnapshotResult("gone", SnapshotState.DELETING),
    )
    assert snapshot_results(_want(DROPS_ONE), observed) == ()
