"""The plan: tables of single steps, and a world that crashes anywhere and still converges without losing a byte."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain.session import plan, steps
from netvps.domain.session.attachment import Attachment, Net
from netvps.domain.session.container import Container, Observed, SavedImage, SourceImage, Status
from netvps.domain.session.kept import LastRun, SavedFiles
from netvps.domain.session.limits import Limits
from netvps.domain.session.session import Assignment, DesiredState, SessionState, SnapshotImage
from netvps.domain.snapshot.saved import SavedSnapshot
from tests.domain.world_of_plan import MACHINE, NOW, UID, World, assignment

RUNNING, STOPPED, DELETED = DesiredState.RUNNING, DesiredState.STOPPED, DesiredState.DELETED
PAUSED = DesiredState.PAUSED


def box(status: Status, layers: int = 1) -> Container:
    return Container("c1", status, layers, started=NOW, ended=NOW + timedelta(seconds=9), address="172.30.0.2")


def on(attachment: Attachment, status: Status = Status.EXITED) -> Container:
    return replace(box(status), attachment=attachment)


def sized(container: Container, pids: int = 512) -> Container:
    return replace(container, limits=Limits(1.0, 1 << 30, pids) if pids == 4096 else Limits(pids=pids))


def saved(container: Container, generation: int = 1, number: int = 1) -> SavedImage:
    snapshot = SnapshotImage(
        f"s{number}", UID, f"netvps-snapshot/vps-{UID}:{number}", f"sha256:{number}", 10, 2, "here", generation,
        NOW + timedelta(minutes=number),
    )  # fmt: skip
    return SavedImage(snapshot, container.run)


HERE, ISOLATED, NOWHERE = (
    Attachment(Net.OVERLAY, "10.128.4.2"),
    Attachment(Net.ISOLATED, owner="ann"),
    Attachment(Net.NONE),
)
EXITED, RUNS, FROZEN = box(Status.EXITED), box(Status.RUNNING), box(Status.PAUSED)
ALONE = replace(RUNS, files="/var/lib/docker/overlay2/x/diff", ending=True, held=True)
REFUSED = (Limits(pids=4096), "512 are in use")
NEW = Container("c1", Status.CREATED, 1)
LIKE_NEW = replace(EXITED, layout="new")
READABLE = replace(EXITED, files="/var/lib/docker/overlay2/x/diff")
HELD = saved(EXITED)
LATER = replace(saved(EXITED, 3, number=3), run="later")
COPIED = SavedFiles(EXITED.run, "sha256:base", NOW)
COPIED_HELD = replace(COPIED, run=ALONE.run)
LAST = LastRun(EXITED.run, 1)
SAME = SavedSnapshot("s9", EXITED.run, "sha256:base", 10, NOW)
KEPT = SourceImage(HELD.snapshot.image)
SOURCE = SourceImage("debian:12")


@pytest.mark.parametrize(
    ("wanted", "observed", "step"),
    [
        (assignment(RUNNING), Observed(), steps.Fetch("debian:12")),
        (assignment(RUNNING), Observed(source=SOURCE), steps.Create(SOURCE)),
        (assignment(RUNNING), Observed(box(Status.CREATED)), steps.Start(box(Status.CREATED))),
        (assignment(RUNNING), Observed(RUNS), steps.Rest(SessionState.RUNNING, "172.30.0.2", RUNS)),
        (assignment(RUNNING), Observed(box(Status.PAUSED)), steps.Unpause(box(Status.PAUSED))),
        (assignment(RUNNING), Observed(EXITED), steps.Start(EXITED)),
        (assignment(RUNNING), Observed(EXITED, stays_down="it is over"), steps.Ended("it is over")),
        # One that is held is started from there, unless that needs more than a start.
        (assignment(RUNNING), Observed(ALONE), steps.Start(ALONE)),
        (assignment(RUNNING), Observed(replace(ALONE, held=False)), steps.Terminate(replace(ALONE, held=False))),
        (assignment(RUNNING), Observed(sized(ALONE)), steps.Terminate(sized(ALONE))),
        (assignment(RUNNING), Observed(ALONE, files=COPIED_HELD, layout="new"), steps.Terminate(ALONE)),
        (assignment(RUNNING), Observed(replace(ALONE, gpus=("GPU-1",))), steps.Copy(replace(ALONE, gpus=("GPU-1",)))),
        (assignment(PAUSED), Observed(ALONE), steps.Terminate(ALONE)),
        (assignment(PAUSED), Observed(RUNS), steps.Pause(RUNS)),
        (assignment(PAUSED), Observed(FROZEN), steps.Rest(SessionState.PAUSED, "172.30.0.2", FROZEN)),
        (
            assignment(PAUSED),
            Observed(RUNS, cannot_pause="no freezer"),
            steps.Rest(SessionState.RUNNING, "172.30.0.2", RUNS, "pause_failed", "no freezer"),
        ),
        (
            assignment(PAUSED),
            Observed(EXITED),
            steps.Ended("its container ended while it was paused; its files are kept"),
        ),
        (assignment(PAUSED), Observed(), steps.Ended("its container was removed from Docker while it was paused")),
        (assignment(PAUSED), Observed(box(Status.REMOVING)), steps.Wait()),
        (assignment(STOPPED), Observed(FROZEN), steps.Unpause(FROZEN)),
        (assignment(DELETED), Observed(FROZEN), steps.Erase()),
        # Limits change where they differ from what the container has; no limit is all that the machine has.
        (assignment(RUNNING), Observed(sized(RUNS)), steps.Resize(sized(RUNS), Limits(pids=4096))),
        (assignment(RUNNING), Observed(sized(EXITED)), steps.Resize(sized(EXITED), Limits(pids=4096))),
        (assignment(PAUSED), Observed(sized(FROZEN)), steps.Resize(sized(FROZEN), Limits(pids=4096))),
        (
            assignment(RUNNING),
            Observed(sized(RUNS, 4096), machine=MACHINE),
            steps.Resize(sized(RUNS, 4096), Limits(8.0, 16 << 30)),
        ),
        (assignment(STOPPED), Observed(sized(READABLE)), steps.Copy(sized(READABLE))),
        (assignment(RUNNING), Observed(sized(EXITED), refused=REFUSED), steps.Start(sized(EXITED))),
        (
            assignment(RUNNING),
            Observed(sized(RUNS), refused=REFUSED),
            steps.Rest(SessionState.RUNNING, "172.30.0.2", sized(RUNS), "resize_refused", "512 are in use"),
        ),
        # What runs stays where it is; what does not is moved before it starts.
        (assignment(RUNNING, address=HERE.address), Observed(on(HERE)), steps.Start(on(HERE))),
        (assignment(RUNNING, address=HERE.address), Observed(on(ISOLATED)), steps.Move(on(ISOLATED), HERE)),
        (
            assignment(RUNNING),
            Observed(on(Attachment(Net.SHARED), Status.RUNNING)),
            steps.Move(on(Attachment(Net.SHARED), Status.RUNNING), ISOLATED),
        ),
        (
            assignment(RUNNING, address="10.128.8.3"),
            Observed(on(HERE)),
            steps.Move(on(HERE), replace(HERE, address="10.128.8.3")),
        ),
        (assignment(RUNNING, address=HERE.address), Observed(on(NOWHERE)), steps.Move(on(NOWHERE), HERE)),
        (assignment(RUNNING), Observed(on(HERE)), steps.Move(on(HERE), ISOLATED)),
        (assignment(RUNNING), Observed(on(ISOLATED)), steps.Start(on(ISOLATED))),
        (
            assignment(RUNNING, address="10.128.8.3"),
            Observed(on(HERE, Status.RUNNING)),
            steps.Rest(SessionState.RUNNING, "172.30.0.2", on(HERE, Status.RUNNING)),
        ),
        (assignment(STOPPED, address="10.128.8.3"), Observed(on(HERE)), steps.Commit(on(HERE), flatten=False)),
        (assignment(RUNNING), Observed(box(Status.REMOVING)), steps.Wait()),
        (assignment(STOPPED), Observed(box(Status.RUNNING)), steps.Terminate(box(Status.RUNNING))),
        (assignment(STOPPED), Observed(box(Status.PAUSED)), steps.Unpause(box(Status.PAUSED))),
        (assignment(STOPPED), Observed(EXITED), steps.Commit(EXITED, flatten=False)),
        (assignment(STOPPED), Observed(box(Status.EXITED, 99)), steps.Commit(box(Status.EXITED, 99), flatten=False)),
        (assignment(STOPPED), Observed(box(Status.EXITED, 100)), steps.Commit(box(Status.EXITED, 100), flatten=True)),
        (assignment(STOPPED), Observed(EXITED, (HELD,)), steps.Record(HELD.snapshot, HELD.run)),
        (assignment(STOPPED, 1, HELD.snapshot), Observed(EXITED, (HELD,)), steps.Rest(SessionState.STOPPED)),
        # Recorded, but its image was removed by hand: the container is there to make another.
        (assignment(STOPPED, 1, HELD.snapshot), Observed(EXITED), steps.Commit(EXITED, flatten=False)),
        # Where its files can be read, they are copied first: that is quick.
        (assignment(STOPPED), Observed(READABLE), steps.Copy(READABLE)),
        (assignment(STOPPED), Observed(READABLE, files=COPIED), steps.Commit(READABLE, flatten=False)),
        (assignment(STOPPED), Observed(READABLE, files=replace(COPIED, run="older")), steps.Copy(READABLE)),
        (assignment(STOPPED), Observed(READABLE, files=replace(COPIED, image_saved=False)), steps.Copy(READABLE)),
        # One that never ran holds nothing of its own.
        (assignment(STOPPED), Observed(NEW), steps.Rest(SessionState.STOPPED)),
        # Its container was removed: the copy has all; the image that the owner named would seem empty.
        (assignment(RUNNING, 2), Observed(source=SOURCE, files=COPIED, last_run=LAST), steps.Restore(COPIED)),
        (assignment(RUNNING, 2, HELD.snapshot), Observed(None, (HELD,), KEPT, COPIED, LAST), steps.Restore(COPIED)),
        (assignment(RUNNING, 2, HELD.snapshot), Observed(None, (HELD,), KEPT, None, LAST), steps.Create(KEPT)),
        # It was made by another netvps: again, if that loses nothing.
        (assignment(RUNNING), Observed(EXITED, files=COPIED, layout="new"), steps.Restore(COPIED, EXITED)),
        (
            assignment(RUNNING),
            Observed(replace(EXITED, layout="new"), files=COPIED, layout="new"),
            steps.Start(LIKE_NEW),
        ),
        (assignment(RUNNING), Observed(EXITED, files=replace(COPIED, run="older"), layout="new"), steps.Start(EXITED)),
        # A netvps that kept no containers stopped it later.
        (assignment(RUNNING, 2), Observed(snapshots={"s9": SAME}, last_run=LAST), steps.Adopt("s9", EXITED.run)),
        (assignment(RUNNING, 2), Observed(snapshots={"s9": SAME}, files=COPIED, last_run=LAST), steps.Restore(COPIED)),
        (assignment(RUNNING, 2), Observed(last_run=LAST, awaited=True), steps.Wait()),
        (assignment(RUNNING, 4, LATER.snapshot), Observed(None, (LATER,), KEPT, COPIED, LAST), steps.Create(KEPT)),
        (assignment(RUNNING, 4), Observed(None, (), SOURCE, COPIED), steps.Create(SOURCE)),
        (assignment(STOPPED), Observed(), steps.Rest(SessionState.STOPPED)),
        (assignment(STOPPED), Observed(None, (HELD,)), steps.Record(HELD.snapshot, HELD.run)),
        (assignment(DELETED), Observed(box(Status.RUNNING)), steps.Erase()),
        (assignment(DELETED), Observed(), steps.Erase()),
    ],
)
def test_the_next_step(wanted: Assignment, observed: Observed, step: steps.Step) -> None:
    assert plan.next_step(wanted, observed) == step


def test_older_snapshots_are_pruned_once_a_newer_one_is_recorded() -> None:
    newer = saved(EXITED, number=2)
    step = plan.next_step(assignment(STOPPED, 1, newer.snapshot), Observed(None, (HELD, newer)))
    assert step == steps.Prune((HELD,))


def test_the_image_under_a_kept_container_is_not_pruned() -> None:
    newer = saved(EXITED, number=2)
    observed = Observed(replace(EXITED, image=HELD.snapshot.digest), (HELD, newer))
    assert plan.next_step(assignment(STOPPED, 1, newer.snapshot), observed) == steps.Rest(SessionState.STOPPED)
    assert plan.next_step(assignment(STOPPED, 1, newer.snapshot), replace(observed, container=EXITED)) == steps.Prune(
        (HELD,)
    )


@pytest.mark.parametrize("desired", [RUNNING, STOPPED])
@pytest.mark.parametrize("older", [(), (saved(EXITED),)])
def test_a_lost_last_run_is_reported_and_never_replaced_by_an_older(
    desired: DesiredState, older: tuple[SavedImage, ...]
) -> None:
    snapshot = older[0].snapshot if older else None
    observed = Observed(None, older, SOURCE, COPIED, LastRun("lost", 3))
    step = plan.next_step(assignment(desired, 4, snapshot), observed)
    assert isinstance(step, steps.Refuse)
    assert ("remove last_runs/" in step.message) is bool(older)


def test_a_deep_snapshot_is_written_as_one_layer_and_replaced_once_that_is_recorded() -> None:
    deep = replace(HELD, snapshot=replace(HELD.snapshot, layers=25))
    recorded = assignment(STOPPED, 2, deep.snapshot)
    assert plan.next_step(recorded, Observed(None, (deep,))) == steps.Flatten(deep)
    assert plan.next_step(assignment(RUNNING, 3, deep.snapshot), Observed(None, (deep,), SOURCE)) == steps.Create(
        SOURCE
    )
    number = f"netvps-snapshot/vps-{UID}:2"
    flat = replace(deep, snapshot=replace(deep.snapshot, image=number, digest="sha256:flat", layers=1, generation=2))
    both = Observed(None, (deep, flat))
    assert plan.next_step(recorded, both) == steps.Record(flat.snapshot, flat.run)
    assert plan.source_of(assignment(RUNNING, 3, deep.snapshot), both.saved) == number
    assert plan.next_step(assignment(STOPPED, 2, flat.snapshot), both) == steps.Prune((deep,))
    assert plan.next_step(assignment(STOPPED, 2, flat.snapshot), Observed(None, (flat,))) == steps.Rest(
        SessionState.STOPPED
    )


def test_a_snapshot_taken_after_the_clock_was_set_back_is_the_newest_all_the_same() -> None:
    second = saved(EXITED, 3, number=2)
    back = replace(
        second, snapshot=replace(second.snapshot, create_time=HELD.snapshot.create_time - timedelta(hours=1))
    )
    observed = Observed(None, (back, HELD))
    assert plan.next_step(assignment(STOPPED, 3, back.snapshot), observed) == steps.Prune((HELD,))
    assert plan.source_of(assignment(RUNNING, 4, back.snapshot), observed.saved) == back.snapshot.image


def test_nothing_is_pruned_while_the_recorded_snapshot_is_missing() -> None:
    recorded = saved(EXITED, number=2).snapshot
    assert plan.next_step(assignment(STOPPED, 1, recorded), Observed(None, (HELD,))) == steps.Rest(SessionState.STOPPED)


def test_a_start_whose_snapshot_is_missing_never_falls_back_to_the_image() -> None:
    step = plan.next_step(assignment(RUNNING, 2, HELD.snapshot), Observed())
    assert isinstance(step, steps.Refuse)
    assert HELD.snapshot.image in step.message


def test_a_dead_container_is_removed_only_if_its_files_are_recorded() -> None:
    dead = box(Status.DEAD)
    held = saved(dead)
    assert plan.next_step(assignment(RUNNING, 1, held.snapshot), Observed(dead, (held,))) == steps.Remove(dead, held)
    assert isinstance(plan.next_step(assignment(RUNNING), Observed(dead)), steps.Refuse)


PRUNES = {
    "docker container prune": (True, False),
    "docker image prune -a": (False, True),
    "docker system prune -a": (True, True),
}
CHANGES = {"disk": (1 << 30, ()), "gpu 1": (0, ("GPU-1",)), "gpu 2": (1 << 30, ("GPU-2",))}
"""Limit of the disk, and GPUs; each needs a new container."""
EVENTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "run",
                "stop",
                "snapshot",
                "lxcfs",
                "freeze",
                "resize",
                "end",
                "pause",
                "old image pruned",
                "clock set back",
                *CHANGES,
                *PRUNES,
            ]
        ),
        st.integers(1, 8),  # so many steps, then the runner dies
    ),
    max_size=40,
)


@patch.object(plan, "FLATTEN_FROM", 3)
@settings(deadline=None)  # other tests may have the machine
@given(EVENTS, st.sampled_from([RUNNING, STOPPED, DELETED, PAUSED]), st.booleans())
def test_from_wherever_it_was_left_it_converges_and_loses_nothing(  # noqa: PLR0912 — a table
    events: list[str | int], goal: DesiredState, holds_containers: bool
) -> None:
    world, written = World(holds_containers=holds_containers), 0
    for event in events:
        match event:
            case "run":
                world.own(RUNNING)
            case "stop":
                world.own(STOPPED)
            case "snapshot":
                world.order()
            case "freeze":
                world.own(PAUSED)
            case "resize":
                world.resize(float(len(events) % 4))
            case "lxcfs":
                world.lxcfs = not world.lxcfs
            case "disk" | "gpu 1" | "gpu 2":
                world.end()  # they change only while it is stopped
                disk, gpus = CHANGES[event]
                world.change(disk_bytes=disk, gpus=gpus)
            case "end":
                world.end()
            case "pause":
                world.pause()
            case "old image pruned":
                world.image_here = False
            case "clock set back":
                world.behind += timedelta(hours=1)
            case int():
                for _ in range(event):
                    world.take(plan.next_step(world.wanted, world.observed()))
                    assert world.lost or world.holds() >= written, "files were lost"
                    written = world.holds()
            case _:
                containers, images = PRUNES[event]
                world.prune(containers=containers, images=images)
    world.own(goal)
    world.converge()
    assert world.deleted == (goal is DELETED)
    if goal is DELETED or world.lost:
        return
    assert world.holds() >= written
    alive = world.container is not None and world.container.status in {Status.RUNNING, Status.PAUSED}
    if goal is RUNNING or (goal is PAUSED and alive):
        assert world.container is not None
        assert world.container.status is (Status.RUNNING if goal is RUNNING else Status.PAUSED)
        assert world.container.limits == world.limits
        if goal is RUNNING:
            assert world.container.gpus == world.wanted.gpus
    else:
        assert world.container is None or world.container.status in {Status.CREATED, Status.EXITED}
        assert len(world.images) <= 2  # that under the container, and the snapshot


def test_after_a_stop_every_prune_is_survived_with_all_files() -> None:
    world = World()
    for cycle in range(3):
        world.own(RUNNING)
        world.converge()
        world.own(STOPPED)
        world.converge()
        for containers, images in list(PRUNES.values())[cycle:]:
            world.prune(containers=containers, images=images)
            world.own(RUNNING)
            world.converge()
            world.own(STOPPED)
            world.converge()
        assert not world.lost
    assert world.files == 9


@pytest.mark.parametrize(("kept", "depth"), [(True, 2), (False, plan.FLATTEN_FROM - 1)])
def test_three_hundred_cycles_keep_their_depth_and_their_files(kept: bool, depth: int) -> None:
    """A container that is kept makes no layers; one that is lost each time does."""
    world = World()
    deepest = 0
    for cycle in range(300):
        world.own(RUNNING)
        world.converge()
        world.behind += timedelta(hours=cycle % 7 == 0)  # the clock is set back now and then
        world.own(STOPPED)
        world.converge()
        if not kept:
            world.container = world.copy = None
            world.converge()
        assert world.wanted.snapshot is not None
        deepest = max(deepest, world.wanted.snapshot.layers)
    assert deepest == depth
    assert world.wanted.snapshot is not None
    assert world.images[world.wanted.snapshot.image][1] == 300


def test_a_container_of_very_many_layers_has_a_snapshot_of_one() -> None:
    world = World(container=replace(EXITED, layers=plan.FLATTEN_NOW))
    world.own(STOPPED)
    world.converge()
    assert world.wanted.snapshot is not None
    assert world.wanted.snapshot.layers == 1
