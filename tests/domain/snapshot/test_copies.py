from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.runner.runner import CAPABILITIES, Capacity, Runner, RunnerState
from netvps.domain.snapshot.copies import (
    Copy,
    CopyReport,
    CopyState,
    damaged_at,
    leaving,
    next_holders,
    progress_words,
    received,
    too_many,
    why_not_so_many,
    without_holder,
)
from netvps.domain.snapshot.snapshot import Holder, Snapshot, SnapshotCause, SnapshotState

NOW = datetime(2026, 11, 30, tzinfo=UTC)
SNAPSHOT = Snapshot(
    "0000000000001", "s" * 13, "dev1", "alice", "one", SnapshotCause.STOP, NOW, NOW, SnapshotState.READY,
    holders=(Holder("a", "box-a"),),
)  # fmt: skip


def _runner(uid: str, free: int = 1, **changes: object) -> Runner:
    runner = Runner(uid, f"box-{uid}", NOW, NOW, RunnerState.ONLINE, capabilities=CAPABILITIES)
    return replace(runner, capacity=Capacity(disk_free_bytes=free), **changes)  # type: ignore[arg-type]


def _copy(runner: str, *, held: bool = False, drop: bool = False, age: int = 0) -> Copy:
    made = NOW - timedelta(minutes=age)
    return Copy(SNAPSHOT.uid, SNAPSHOT.session, runner, f"box-{runner}", made, held, drop)


def test_copies_go_to_the_runners_with_the_most_room() -> None:
    runners = [_runner("a", 9), _runner("b", 2), _runner("c", 3), _runner("d", 1)]
    assert next_holders(SNAPSHOT, [], runners) == []
    chosen = next_holders(replace(SNAPSHOT, copies=3), [], runners)
    assert [runner.uid for runner in chosen] == ["c", "b"]
    chosen = next_holders(replace(SNAPSHOT, copies=3), [_copy("c")], runners)
    assert [runner.uid for runner in chosen] == ["b"]


@pytest.mark.parametrize(
    "unable",
    [
        {"state": RunnerState.OFFLINE},
        {"capabilities": ("snapshots",)},
        {"engine_problem": "Docker is away"},
    ],
)
def test_a_runner_that_cannot_hold_one_gets_none(unable: dict[str, object]) -> None:
    assert next_holders(replace(SNAPSHOT, copies=2), [], [_runner("b", **unable)]) == []  # type: ignore[arg-type]


def test_without_a_usable_holder_nothing_is_ordered() -> None:
    damaged = replace(SNAPSHOT, copies=2, holders=(Holder("a", "box-a", damaged=True),))
    assert next_holders(damaged, [], [_runner("b")]) == []


def test_a_receipt_is_recorded_once() -> None:
    holder = Holder("b", "box-b")
    once = received(SNAPSHOT, holder, NOW)
    assert [one.runner for one in once.holders] == ["a", "b"]
    assert received(once, holder, NOW) is once
    deleting = replace(SNAPSHOT, state=SnapshotState.DELETING)
    assert received(deleting, holder, NOW) is deleting


def test_damage_is_no_loss_while_another_runner_has_it() -> None:
    two = received(SNAPSHOT, Holder("b", "box-b"), NOW)
    one = damaged_at(two, "a", NOW)
    assert (one.state, [holder.runner for holder in one.usable]) == ("READY", ["b"])
    assert damaged_at(one, "a", NOW) is one
    none = damaged_at(one, "b", NOW)
    assert (none.state, none.reason) == ("FAILED", "data_loss")
    assert none.message.startswith("its files are damaged on box-a, box-b, and no other runner holds them")


def test_the_last_holder_takes_the_snapshot_with_it() -> None:
    assert without_holder(SNAPSHOT, "b", NOW) is SNAPSHOT
    gone = without_holder(SNAPSHOT, "a", NOW)
    assert (gone.state, gone.reason) == ("FAILED", "data_loss")
    assert "the runner that held it was removed" in gone.message


def test_of_too_many_the_damaged_then_the_pending_then_the_latest_go() -> None:
    snapshot = replace(
        SNAPSHOT,
        copies=2,
        holders=(*SNAPSHOT.holders, Holder("b", "b"), Holder("c", "c"), Holder("d", "d", damaged=True)),
    )
    orders = [_copy("b", held=True, age=9), _copy("c", held=True, age=1), _copy("d", held=True), _copy("e")]
    assert [copy.runner for copy in too_many(snapshot, orders)] == ["d", "e", "c"]


def test_a_holder_that_erases_it_soon_is_a_source_and_does_not_count() -> None:
    two = leaving(received(replace(SNAPSHOT, copies=2), Holder("b", "box-b"), NOW), "a", NOW)
    assert [one.runner for one in two.usable] == ["a", "b"]
    assert ([one.runner for one in two.counted], two.lacks) == (["b"], "copies")
    assert leaving(two, "a", NOW) is two
    assert leaving(two, "c", NOW) is two
    assert [one.uid for one in next_holders(two, [], [_runner("a"), _runner("c")])] == ["c"]
    alone = leaving(replace(SNAPSHOT, copies=1), "a", NOW)
    assert [one.uid for one in next_holders(alone, [], [_runner("c")])] == ["c"]  # copied from the one that leaves
    three = received(two, Holder("c", "box-c"), NOW)
    assert too_many(three, [_copy("b", held=True), _copy("c", held=True)]) == []
    assert "2 can hold one (box-b, box-c)" in why_not_so_many(three, 3, [_runner("b"), _runner("c")])


@given(
    holders=st.sets(st.sampled_from("abcdef"), min_size=1),
    pending=st.sets(st.sampled_from("abcdef")),
    copies=st.integers(1, 6),
)
def test_orders_end_at_the_number_wanted_and_never_lose_the_last(
    holders: set[str], pending: set[str], copies: int
) -> None:
    """The first holder took the snapshot itself, so it has no order."""
    first, *others = sorted(holders)
    snapshot = replace(SNAPSHOT, copies=copies, holders=tuple(Holder(one, one) for one in sorted(holders)))
    orders = [_copy(one, held=True) for one in others] + [_copy(one) for one in sorted(pending - holders)]
    dropped = {copy.runner for copy in too_many(snapshot, orders)}
    added = {runner.uid for runner in next_holders(snapshot, orders, [_runner(one) for one in "abcdef"])}
    assert not (dropped and added)
    assert first not in dropped
    left = (holders | pending | added) - dropped
    assert len(left) == max(copies, 1)


def test_more_copies_than_runners_are_refused_in_words() -> None:
    runners = [_runner("a"), _runner("b", state=RunnerState.OFFLINE), _runner("c", capabilities=())]
    assert why_not_so_many(SNAPSHOT, 2, runners) == ""
    assert why_not_so_many(SNAPSHOT, 3, runners) == (
        "3 copies need as many runners, and 2 can hold one (box-a, box-b): add a runner, or ask for fewer copies"
    )


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (CopyReport("s", "n", CopyState.PENDING), "copying to box"),
        (CopyReport("s", "n", CopyState.PENDING, "no room"), "copying to box: no room"),
        (
            CopyReport("s", "n", CopyState.PENDING, done_bytes=1 << 20, total_bytes=3 << 20, rate=1 << 19),
            "copying to box: 1.0 MiB of 3.0 MiB, 4 s left",
        ),
    ],
)
def test_progress_is_in_words(report: CopyReport, words: str) -> None:
    assert progress_words("box", report) == words
