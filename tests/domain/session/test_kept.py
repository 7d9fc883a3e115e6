"""Which run of a session was the last one that was reported, and which copy is of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netvps.domain.session import plan, steps
from netvps.domain.session.container import Observed, Status
from netvps.domain.session.kept import LastRun, keeps
from netvps.domain.session.session import Assignment, DesiredState, SnapshotImage
from tests.domain.session.test_plan import COPIED, LAST, PAUSED, READABLE, RUNNING, STOPPED
from tests.domain.world_of_plan import World, assignment

ENDS = replace(READABLE, status=Status.RUNNING, holdable=True, ending=True)
HELD = replace(ENDS, held=True)
ITS_COPY = replace(COPIED, run=HELD.run)


def taken(generation: int) -> SnapshotImage:
    return SnapshotImage("s", "u", "i:1", "sha256:1", 1, 1, "here", generation, datetime(2026, 11, 21, tzinfo=UTC))


@pytest.mark.parametrize(("snapshot", "latest"), [(None, True), (taken(2), True), (taken(3), True), (taken(4), False)])
def test_a_snapshot_of_a_later_stop_says_more(snapshot: SnapshotImage | None, latest: bool) -> None:
    assert LastRun("c1", 3).is_latest(snapshot) is latest


@pytest.mark.parametrize(
    ("kept", "run", "same"),
    [
        ("c1 8:00 9:00", "c1 8:00 9:00", True),
        ("c1 8:00 held", "c1 8:00 9:00", True),
        ("c1 8:00 held", "c1 8:00 held", True),
        ("c1 8:00 held", "c1 8:30 9:00", False),
        ("c1 8:00 held", "c2 8:00 9:00", False),
        ("c1 8:00 7:00", "c1 8:00 9:00", False),  # a snapshot of it while it ran
        ("c1 8:00 7:00", "c1 8:00 held", False),
    ],
)
def test_files_that_were_final_are_those_of_the_whole_run(kept: str, run: str, same: bool) -> None:
    assert keeps(kept, run) is same


@pytest.mark.parametrize(
    ("wanted", "observed", "step"),
    [
        (assignment(STOPPED), Observed(ENDS), steps.Terminate(ENDS)),
        (assignment(STOPPED), Observed(HELD), steps.Copy(HELD)),
        (assignment(STOPPED), Observed(HELD, files=replace(ITS_COPY, image_saved=False)), steps.Copy(HELD)),
        (assignment(STOPPED), Observed(HELD, files=ITS_COPY), steps.Terminate(HELD)),
        (assignment(STOPPED), Observed(replace(HELD, files="")), steps.Terminate(replace(HELD, files=""))),
        (assignment(RUNNING), Observed(ENDS), steps.Terminate(ENDS)),
        (assignment(PAUSED), Observed(HELD), steps.Terminate(HELD)),
        (assignment(STOPPED), Observed(READABLE, files=ITS_COPY), steps.Commit(READABLE, flatten=False)),
        (assignment(RUNNING), Observed(files=ITS_COPY, last_run=LAST), steps.Restore(ITS_COPY)),
    ],
)
def test_a_container_that_is_held_ends_once_its_files_are_copied_and_never_goes_back_to_work(
    wanted: Assignment, observed: Observed, step: steps.Step
) -> None:
    assert plan.next_step(wanted, observed) == step


@pytest.mark.parametrize("goal", [RUNNING, STOPPED])
@pytest.mark.parametrize("number", range(12))
def test_a_prune_after_any_step_of_a_stop_loses_nothing_where_agents_hold(number: int, goal: DesiredState) -> None:
    world = World(holds_containers=True)
    world.own(RUNNING)
    world.converge()
    world.own(STOPPED)
    for _ in range(number):
        world.take(plan.next_step(world.wanted, world.observed()))
    world.prune(containers=True, images=True)
    assert not world.lost
    assert world.holds() == 1
    world.own(goal)
    world.converge()
    assert world.holds() == (2 if number and goal is RUNNING else 1)
