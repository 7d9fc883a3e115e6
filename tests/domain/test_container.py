"""The plan: tables of single steps, and a world that crashes anywhere and still converges without losing a byte."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain import container as plan
from netvps.domain.attachment import Attachment, Net
from netvps.domain.container import Container, SavedImage, Seen, SourceImage, Status
from netvps.domain.session import Assignment, DesiredState, SessionSpec, SessionState, Snapshot

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
UID = "0123456789abc"
RUNNING, STOPPED, DELETED = DesiredState.RUNNING, DesiredState.STOPPED, DesiredState.DELETED


def want(
    desired: DesiredState, generation: int = 1, snapshot: Snapshot | None = None, *, address: str = ""
) -> Assignment:
    spec = SessionSpec(image="debian:12")
    return Assignment(UID, "dev1", "ann", 1, generation, desired, spec, snapshot, 1, address)


def box(status: Status, layers: int = 1) -> Container:
    return Container("c1", status, layers, started=NOW, ended=NOW + timedelta(seconds=9), address="172.30.0.2")


def on(attachment: Attachment, status: Status = Status.EXITED) -> Container:
    return replace(box(status), attachment=attachment)


def saved(container: Container, generation: int = 1, number: int = 1) -> SavedImage:
    snapshot = Snapshot(
        f"s{number}", UID, f"netvps-snapshot/vps-{UID}:{number}", f"sha256:{number}", 10, 2, "here", generation,
        NOW + timedelta(minutes=number),
    )  # fmt: skip
    return SavedImage(snapshot, container.run)


HERE, ISOLATED, NOWHERE = (
    Attachment(Net.OVERLAY, "10.128.4.2"),
    Attachment(Net.ISOLATED, owner="ann"),
    Attachment(Net.NONE),
)
EXITED = box(Status.EXITED)
HELD = saved(EXITED)
SOURCE = SourceImage("debian:12")


@pytest.mark.parametrize(
    ("wanted", "seen", "step"),
    [
        (want(RUNNING), Seen(), plan.Fetch("debian:12")),
        (want(RUNNING), Seen(source=SOURCE), plan.Create(SOURCE)),
        (want(RUNNING), Seen(box(Status.CREATED)), plan.Start(box(Status.CREATED))),
        (want(RUNNING), Seen(box(Status.RUNNING)), plan.Rest(SessionState.RUNNING, "172.30.0.2")),
        (want(RUNNING), Seen(box(Status.PAUSED)), plan.Unpause(box(Status.PAUSED))),
        (want(RUNNING), Seen(EXITED), plan.Start(EXITED)),
        # What runs stays where it is; what does not is moved before it starts.
        (want(RUNNING, address=HERE.address), Seen(on(HERE)), plan.Start(on(HERE))),
        (want(RUNNING, address=HERE.address), Seen(on(ISOLATED)), plan.Move(on(ISOLATED), HERE)),
        (
            want(RUNNING),
            Seen(on(Attachment(Net.SHARED), Status.RUNNING)),
            plan.Move(on(Attachment(Net.SHARED), Status.RUNNING), ISOLATED),
        ),
        (want(RUNNING, address="10.128.8.3"), Seen(on(HERE)), plan.Move(on(HERE), replace(HERE, address="10.128.8.3"))),
        (want(RUNNING, address=HERE.address), Seen(on(NOWHERE)), plan.Move(on(NOWHERE), HERE)),
        (want(RUNNING), Seen(on(HERE)), plan.Move(on(HERE), ISOLATED)),
        (want(RUNNING), Seen(on(ISOLATED)), plan.Start(on(ISOLATED))),
        (
            want(RUNNING, address="10.128.8.3"),
            Seen(on(HERE, Status.RUNNING)),
            plan.Rest(SessionState.RUNNING, "172.30.0.2"),
        ),
        (want(STOPPED, address="10.128.8.3"), Seen(on(HERE)), plan.Commit(on(HERE), flatten=False)),
        (want(RUNNING), Seen(box(Status.REMOVING)), plan.Wait()),
        (want(STOPPED), Seen(box(Status.RUNNING)), plan.Terminate(box(Status.RUNNING))),
        (want(STOPPED), Seen(box(Status.PAUSED)), plan.Unpause(box(Status.PAUSED))),
        (want(STOPPED), Seen(EXITED), plan.Commit(EXITED, flatten=False)),
        (want(STOPPED), Seen(box(Status.EXITED, 99)), plan.Commit(box(Status.EXITED, 99), flatten=False)),
        (want(STOPPED), Seen(box(Status.EXITED, 100)), plan.Commit(box(Status.EXITED, 100), flatten=True)),
        (want(STOPPED), Seen(EXITED, (HELD,)), plan.Record(HELD.snapshot)),
        (want(STOPPED, 1, HELD.snapshot), Seen(EXITED, (HELD,)), plan.Remove(EXITED, HELD)),
        # Recorded, but for an earlier stop: it has to come back with this one.
        (want(STOPPED, 2, HELD.snapshot), Seen(EXITED, (HELD,)), plan.Record(replace(HELD.snapshot, generation=2))),
        # Recorded, but its image was removed by hand: what the container holds is all there is.
        (want(STOPPED, 1, HELD.snapshot), Seen(EXITED), plan.Commit(EXITED, flatten=False)),
        (want(STOPPED), Seen(), plan.Rest(SessionState.STOPPED)),
        (want(STOPPED), Seen(None, (HELD,)), plan.Record(HELD.snapshot)),
        (want(DELETED), Seen(box(Status.RUNNING)), plan.Erase()),
        (want(DELETED), Seen(), plan.Erase()),
    ],
)
def test_the_next_step(wanted: Assignment, seen: Seen, step: plan.Step) -> None:
    assert plan.next_step(wanted, seen) == step


def test_older_snapshots_are_pruned_once_a_newer_one_is_recorded() -> None:
    newer = saved(EXITED, number=2)
    step = plan.next_step(want(STOPPED, 1, newer.snapshot), Seen(None, (HELD, newer)))
    assert step == plan.Prune((HELD,))


def test_a_deep_snapshot_is_written_as_one_layer_and_replaced_once_that_is_recorded() -> None:
    deep = replace(HELD, snapshot=replace(HELD.snapshot, layers=25))
    recorded = want(STOPPED, 2, deep.snapshot)
    assert plan.next_step(recorded, Seen(None, (deep,))) == plan.Flatten(deep)
    assert plan.next_step(want(RUNNING, 3, deep.snapshot), Seen(None, (deep,), SOURCE)) == plan.Create(SOURCE)
    number = f"netvps-snapshot/vps-{UID}:2"
    flat = replace(deep, snapshot=replace(deep.snapshot, image=number, digest="sha256:flat", layers=1, generation=2))
    both = Seen(None, (deep, flat))
    assert plan.next_step(recorded, both) == plan.Record(flat.snapshot, at_rest=True)
    assert plan.source_of(want(RUNNING, 3, deep.snapshot), both.saved) == number
    assert plan.next_step(want(STOPPED, 2, flat.snapshot), both) == plan.Prune((deep,))
    assert plan.next_step(want(STOPPED, 2, flat.snapshot), Seen(None, (flat,))) == plan.Rest(SessionState.STOPPED)


def test_a_snapshot_taken_after_the_clock_was_set_back_is_the_newest_all_the_same() -> None:
    second = saved(EXITED, 3, number=2)
    back = replace(
        second, snapshot=replace(second.snapshot, create_time=HELD.snapshot.create_time - timedelta(hours=1))
    )
    seen = Seen(None, (back, HELD))
    assert plan.next_step(want(STOPPED, 3, back.snapshot), seen) == plan.Prune((HELD,))
    assert plan.source_of(want(RUNNING, 4, back.snapshot), seen.saved) == back.snapshot.image


def test_nothing_is_pruned_while_the_recorded_snapshot_is_missing() -> None:
    recorded = saved(EXITED, number=2).snapshot
    assert plan.next_step(want(STOPPED, 1, recorded), Seen(None, (HELD,))) == plan.Rest(SessionState.STOPPED)


def test_a_start_whose_snapshot_is_missing_never_falls_back_to_the_image() -> None:
    step = plan.next_step(want(RUNNING, 2, HELD.snapshot), Seen())
    assert isinstance(step, plan.Refuse)
    assert HELD.snapshot.image in step.message


def test_a_dead_container_is_removed_only_if_its_files_are_recorded() -> None:
    dead = box(Status.DEAD)
    held = saved(dead)
    assert plan.next_step(want(RUNNING, 1, held.snapshot), Seen(dead, (held,))) == plan.Remove(dead, held)
    assert isinstance(plan.next_step(want(RUNNING), Seen(dead)), plan.Refuse)


@pytest.mark.parametrize(
    ("code", "oom", "survived", "asked", "cause"),
    [
        (0, False, False, False, "exit"),
        (1, True, False, False, "exit"),
        (137, False, False, False, "killed"),
        (137, True, False, False, "oom"),
        (137, True, True, False, "killed"),
        (143, False, False, False, "killed"),
        (255, False, False, False, "exit"),
        (137, False, False, True, "stopped"),
    ],
)
def test_the_cause_of_an_end(code: int, oom: bool, survived: bool, asked: bool, cause: str) -> None:
    ended = replace(EXITED, exit_code=code, oom_killed=oom)
    seen = plan.last_exit(ended, asked=asked, survived_oom=survived)
    assert seen is not None
    assert (seen.exit_code, seen.cause) == (code, cause)


def test_what_never_ran_has_no_end() -> None:
    assert plan.last_exit(Container("c1", Status.CREATED, 1), asked=False, survived_oom=False) is None


@given(st.integers(-5, 100), st.floats(0, 0.999))
def test_restarts_are_one_to_sixty_seconds_apart(failures: int, jitter: float) -> None:
    delay = plan.restart_delay(failures, jitter)
    assert delay == 0 if failures <= 0 else 1 <= delay <= 60


@dataclass
class World:
    """Docker and the control plane, in a few lines. Every run of the container writes one more file."""

    container: Container | None = None
    files: int = 0
    images: dict[str, tuple[SavedImage, int]] = field(default_factory=dict)
    clock: int = 0
    """Counts what happens; the clock on the wall may be set back meanwhile."""
    behind: timedelta = timedelta()
    wanted: Assignment = field(default_factory=lambda: want(RUNNING))
    image_here: bool = False
    deleted: bool = False

    def seen(self) -> Seen:
        images = tuple(image for image, _ in self.images.values())
        reference = plan.source_of(self.wanted, images)
        here = reference in self.images or (reference == "debian:12" and self.image_here)
        return Seen(self.container, images, SourceImage(reference) if here and self.container is None else None)

    def tick(self) -> datetime:
        self.clock += 1
        return NOW + timedelta(seconds=self.clock) - self.behind

    def own(self, desired: DesiredState) -> None:
        """The owner wants something."""
        self.wanted = replace(self.wanted, desired=desired, generation=self.wanted.generation + 1)

    def end(self) -> None:
        """The container ends, by itself or because the machine went down."""
        if self.container and self.container.status in {Status.RUNNING, Status.PAUSED}:
            self.container = replace(self.container, status=Status.EXITED, ended=self.tick())

    def pause(self) -> None:
        if self.container and self.container.status is Status.RUNNING:
            self.container = replace(self.container, status=Status.PAUSED)

    def take(self, step: plan.Step) -> None:
        match step:
            case plan.Fetch("debian:12"):
                self.image_here = True
            case plan.Create(source):
                kept = self.images.get(source.reference)
                self.files = kept[1] if kept else 0
                layers = kept[0].snapshot.layers if kept else 1
                self.container = Container(f"c{self.clock}", Status.CREATED, layers)
                self.tick()
            case plan.Start(container):
                assert self.container == container
                self.container = replace(container, status=Status.RUNNING, started=self.tick())
                self.files += 1
            case plan.Unpause(container):
                self.container = replace(container, status=Status.RUNNING)
            case plan.Terminate():
                self.end()
            case plan.Commit(container, flatten):
                now = self.tick()
                layers = 1 if flatten else container.layers + 1
                reference = f"netvps-snapshot/vps-{UID}:{self.clock}"
                snapshot = Snapshot(
                    f"s{self.clock}", UID, reference, f"sha256:{self.clock}", 1, layers, "here",
                    self.wanted.generation, now,
                )  # fmt: skip
                self.images[reference] = (SavedImage(snapshot, container.run), self.files)
            case plan.Flatten(saved):
                self.tick()
                reference = f"netvps-snapshot/vps-{UID}:{self.clock}"
                flat = replace(saved.snapshot, image=reference, digest=f"sha256:{self.clock}", layers=1)
                self.images[reference] = (replace(saved, snapshot=flat), self.images[saved.snapshot.image][1])
            case plan.Record(snapshot):
                self.wanted = replace(self.wanted, snapshot=snapshot)
            case plan.Remove(container, image):
                # The one rule: what goes is in an image that is here, and recorded.
                assert self.container == container
                recorded = self.wanted.snapshot
                assert recorded is not None
                assert recorded.image in self.images
                assert self.images[recorded.image][1] == self.files
                assert image.snapshot.digest == recorded.digest
                self.container = None
            case plan.Prune(images):
                for image in images:
                    del self.images[image.snapshot.image]
                assert self.wanted.snapshot is not None
                assert self.wanted.snapshot.image in self.images
            case plan.Erase():
                self.container, self.images, self.deleted = None, {}, True

    def converge(self, *, hurried: bool = False) -> None:
        """Until it is as wanted; `hurried`: no longer."""
        for _ in range(20):
            step = plan.next_step(self.wanted, self.seen())
            assert not isinstance(step, plan.Refuse), step
            if hurried and isinstance(step, plan.Flatten):
                return
            if isinstance(step, plan.Rest | plan.Erase):
                self.take(step)
                return
            self.take(step)
        raise AssertionError("it does not come to rest")


EVENTS = st.lists(
    st.one_of(
        st.sampled_from(["run", "stop", "end", "pause", "old image pruned", "clock set back"]),
        st.integers(1, 6),  # so many steps, then the runner dies
    ),
    max_size=40,
)


@patch.object(plan, "FLATTEN_FROM", 3)
@settings(deadline=None)  # other tests may have the machine
@given(EVENTS, st.sampled_from([RUNNING, STOPPED, DELETED]))
def test_from_wherever_it_was_left_it_converges_and_loses_nothing(events: list[str | int], goal: DesiredState) -> None:
    world, written = World(), 0
    for event in events:
        match event:
            case "run":
                world.own(RUNNING)
            case "stop":
                world.own(STOPPED)
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
                    world.take(plan.next_step(world.wanted, world.seen()))
                    now = world.files if world.container else max((n for _, n in world.images.values()), default=0)
                    assert now >= written, "files were lost"
                    written = now
    world.own(goal)
    world.converge()
    assert world.deleted == (goal is DELETED)
    if goal is RUNNING:
        assert world.container is not None
        assert world.container.status is Status.RUNNING
        assert world.files > written or world.files == written
    if goal is STOPPED:
        assert world.container is None
        assert len(world.images) <= 1
        assert not written or next(iter(world.images.values()))[1] == world.files


@pytest.mark.parametrize(("hurried", "depth"), [(False, plan.FLATTEN_FROM - 1), (True, plan.FLATTEN_NOW)])
def test_three_hundred_cycles_keep_their_depth_and_their_files(hurried: bool, depth: int) -> None:
    world = World()
    deepest = 0
    for cycle in range(300):
        world.own(RUNNING)
        world.converge()
        world.behind += timedelta(hours=cycle % 7 == 0)  # the clock is set back now and then
        world.own(STOPPED)
        world.converge(hurried=hurried)
        assert world.wanted.snapshot is not None
        deepest = max(deepest, world.wanted.snapshot.layers)
    assert deepest == depth
    assert world.wanted.snapshot is not None
    assert world.images[world.wanted.snapshot.image][1] == 300
