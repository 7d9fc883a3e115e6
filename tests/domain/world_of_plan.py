"""Docker and the control plane, in a few lines, for tests of the plan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from netvps.domain.session import plan, steps
from netvps.domain.session.container import Container, Observed, SavedImage, SourceImage, Status
from netvps.domain.session.kept import LastRun, SavedFiles, keeps
from netvps.domain.session.limits import Limits
from netvps.domain.session.session import Assignment, DesiredState, SnapshotImage
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.saved import SavedSnapshot
from netvps.domain.snapshot.snapshot import SnapshotOrder

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
UID = "0123456789abc"
RUNNING = DesiredState.RUNNING
MACHINE = Limits(8.0, 16 << 30)
GPUS = frozenset({"GPU-1", "GPU-2"})


def assignment(
    desired: DesiredState, generation: int = 1, snapshot: SnapshotImage | None = None, *, address: str = ""
) -> Assignment:
    spec = SessionSpec(image="debian:12")
    return Assignment(UID, "dev1", "ann", 1, generation, desired, spec, snapshot, 1, address)


@dataclass
class World:
    """Docker and the control plane, in a few lines. Every run of the container writes one more file."""

    container: Container | None = None
    files: int = 0
    images: dict[str, tuple[SavedImage, int]] = field(default_factory=dict)
    clock: int = 0
    """Counts what happens; the clock on the wall may be set back meanwhile."""
    behind: timedelta = timedelta()
    wanted: Assignment = field(default_factory=lambda: assignment(RUNNING))
    image_here: bool = False
    deleted: bool = False
    copy: tuple[SavedFiles, int] | None = None
    last: LastRun | None = None
    lxcfs: bool = False
    holds_containers: bool = False
    """Whether agents hold their containers until the files are copied."""
    snapshots: dict[str, tuple[SavedSnapshot, int]] = field(default_factory=dict)
    lost: bool = False
    """What the last run wrote was removed before it was copied."""

    @property
    def limits(self) -> Limits:
        return self.wanted.spec.limits.on(MACHINE)

    def observed(self) -> Observed:
        images = tuple(image for image, _ in self.images.values())
        reference = plan.source_of(self.wanted, images)
        here = reference in self.images or (reference == "debian:12" and self.image_here)
        source = SourceImage(reference) if here and self.container is None else None
        copy = self.copy and self.copy[0]
        taken = {uid: one for uid, (one, _) in self.snapshots.items()}
        seen = Observed(self.container, images, source, copy, self.last, gpus=GPUS, lxcfs=self.lxcfs, machine=MACHINE)
        return replace(seen, snapshots=taken if self.wanted.snapshot_orders else {})

    def tick(self) -> datetime:
        self.clock += 1
        return NOW + timedelta(seconds=self.clock) - self.behind

    def own(self, desired: DesiredState) -> None:
        """The owner wants something."""
        self.wanted = replace(self.wanted, desired=desired, generation=self.wanted.generation + 1)

    def order(self) -> None:
        """The owner wants a snapshot."""
        orders = (*self.wanted.snapshot_orders, SnapshotOrder(f"n{len(self.wanted.snapshot_orders)}"))
        self.wanted = replace(self.wanted, snapshot_orders=orders)

    def resize(self, cpus: float) -> None:
        """The owner wants other limits."""
        spec = replace(self.wanted.spec, cpus=cpus)
        self.wanted = replace(self.wanted, spec=spec, generation=self.wanted.generation + 1)

    def change(self, *, disk_bytes: int, gpus: tuple[str, ...]) -> None:
        """The owner wants another limit of its disk, and has to start it with other GPUs."""
        spec = replace(self.wanted.spec, disk_bytes=disk_bytes)
        self.wanted = replace(self.wanted, spec=spec, gpus=gpus, generation=self.wanted.generation + 1)

    def end(self) -> None:
        """The container ends, by itself or because the machine went down."""
        if self.container and self.container.status in {Status.RUNNING, Status.PAUSED}:
            self.container = replace(self.container, status=Status.EXITED, ended=self.tick(), ending=False, held=False)

    def prune(self, *, containers: bool, images: bool) -> None:
        """As docker does: what does not run goes, and images without a container."""
        if containers and self.container and self.container.status not in {Status.RUNNING, Status.PAUSED}:
            run, ran = self.container.run, self.container.started is not None
            stopped = self.last is not None and keeps(self.last.run, run)
            held = [image.run for image, _ in self.images.values()] + ([self.copy[0].run] if self.copy else [])
            if ran and not stopped:
                return  # it was not reported as stopped: one that ends by itself starts from its last stop
            self.lost = ran and not any(keeps(one, run) for one in held)
            self.container = None
        if images:
            kept = self.container.image if self.container else ""
            self.images = {name: held for name, held in self.images.items() if held[0].snapshot.digest == kept}
            self.image_here = False
            copied = self.last is not None and self.copy is not None and keeps(self.copy[0].run, self.last.run)
            if self.last and not copied and self.container is None:
                self.lost = True

    def pause(self) -> None:
        if self.container and self.container.status is Status.RUNNING:
            self.container = replace(self.container, status=Status.PAUSED)

    def take(self, step: steps.Step) -> None:  # noqa: PLR0912, PLR0915 — a table
        match step:
            case steps.Fetch("debian:12"):
                self.image_here = True
            case steps.Create(source):
                kept = self.images.get(source.reference)
                self.files = kept[1] if kept else 0
                layers = kept[0].snapshot.layers if kept else 1
                image = kept[0].snapshot.digest if kept else "sha256:base"
                self.container = Container(
                    f"c{self.clock}", Status.CREATED, layers, image=image, files="/upper", **self.made_with()
                )
                self.tick()
            case steps.Restore(files):
                assert self.copy is not None
                assert self.copy[0] == files
                self.files = self.copy[1]
                self.container = Container(
                    f"c{self.clock}", Status.CREATED, 1, image=files.image, files="/upper", **self.made_with()
                )
                self.tick()
            case steps.Copy(container):
                self.last = LastRun(container.run, self.wanted.generation)
                self.copy = (SavedFiles(container.run, container.image, self.tick()), self.files)
            case steps.Take(uid, Container(run=run), None):
                assert self.copy is not None
                assert keeps(self.copy[0].run, run)
                self.snapshot(uid, run, self.copy[1])
            case steps.Take(uid, container):
                assert container == self.container
                self.snapshot(uid, container.run if container else "", self.holds())
            case steps.Start(container):
                assert self.container == container
                assert container.gpus == self.wanted.gpus
                assert self.lxcfs or not container.lxcfs
                self.container = replace(
                    container, status=Status.RUNNING, started=self.tick(), ending=False, held=False
                )
                self.files += 1
            case steps.Pause(container):
                assert self.container == container
                self.container = replace(container, status=Status.PAUSED)
            case steps.Unpause(container):
                self.container = replace(container, status=Status.RUNNING)
            case steps.Resize(container, to):
                assert self.container == container
                old = container.limits or Limits()
                changed = Limits(to.cpus or old.cpus, to.memory_bytes or old.memory_bytes, to.pids or old.pids)
                self.container = replace(container, limits=changed)
            case steps.Ended():  # the control plane makes this wish of it
                self.own(DesiredState.STOPPED)
            case steps.Terminate(container):
                if container.holdable and not container.held and self.wanted.desired is DesiredState.STOPPED:
                    self.container = replace(container, ending=True, held=True)
                else:
                    self.end()
            case steps.Commit(container, flatten):
                now = self.tick()
                self.last = LastRun(container.run, self.wanted.generation)
                layers = 1 if flatten else container.layers + 1
                reference = f"netvps-snapshot/vps-{UID}:{self.clock}"
                snapshot = SnapshotImage(
                    f"s{self.clock}", UID, reference, f"sha256:{self.clock}", 1, layers, "here",
                    self.wanted.generation, now,
                )  # fmt: skip
                self.images[reference] = (SavedImage(snapshot, container.run), self.files)
            case steps.Flatten(saved):
                self.tick()
                reference = f"netvps-snapshot/vps-{UID}:{self.clock}"
                flat = replace(saved.snapshot, image=reference, digest=f"sha256:{self.clock}", layers=1)
                self.images[reference] = (replace(saved, snapshot=flat), self.images[saved.snapshot.image][1])
            case steps.Record(snapshot):
                self.wanted = replace(self.wanted, snapshot=snapshot)
            case steps.Remove(container, image):
                # The one rule: what goes is in an image that is here, and recorded.
                assert self.container == container
                recorded = self.wanted.snapshot
                assert recorded is not None
                assert recorded.image in self.images
                assert self.images[recorded.image][1] == self.files
                assert image.snapshot.digest == recorded.digest
                self.container = None
            case steps.Prune(images):
                for older in images:
                    del self.images[older.snapshot.image]
                assert self.wanted.snapshot is not None
                assert self.wanted.snapshot.image in self.images
            case steps.Erase():
                self.container, self.images, self.deleted = None, {}, True

    def made_with(self) -> dict[str, Any]:
        """What a new container gets."""
        return {
            "limits": self.limits,
            "disk_bytes": self.wanted.spec.disk_bytes,
            "gpus": self.wanted.gpus,
            "lxcfs": self.lxcfs,
            "holdable": self.holds_containers,
        }

    def snapshot(self, uid: str, run: str, files: int) -> None:
        """A snapshot is taken: of all that there is."""
        assert uid not in self.snapshots
        assert files == self.holds()
        self.snapshots[uid] = SavedSnapshot(uid, run, "sha256:base", 1, self.tick()), files

    def holds(self) -> int:
        """Files that are somewhere."""
        if self.container:
            return self.files
        return max([n for _, n in self.images.values()] + ([self.copy[1]] if self.copy else []), default=0)

    def converge(self) -> None:
        """Until it is as wanted."""
        for _ in range(20):
            step = plan.next_step(self.wanted, self.observed())
            self.take(step)
            if isinstance(step, steps.Rest | steps.Erase | steps.Refuse):
                done = isinstance(step, steps.Refuse | steps.Erase) or self.lost
                assert done or len(self.snapshots) == len(self.wanted.snapshot_orders)
                assert isinstance(step, steps.Refuse) is (self.lost and not isinstance(step, steps.Erase)), step
                return
        raise AssertionError("it does not come to rest")
