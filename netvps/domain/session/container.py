"""A session's container and everything else on its machine that belongs to the session, as inspected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from netvps.domain.runner.docker_names import snapshot_number
from netvps.domain.session.attachment import Attachment
from netvps.domain.session.kept import HELD, LastRun, SavedFiles
from netvps.domain.session.limits import UNLIMITED, Limits
from netvps.domain.session.session import SnapshotImage
from netvps.domain.snapshot.saved import SavedSnapshot
from netvps.domain.snapshot.snapshot import RestoreResult, SnapshotResult

ENGINE_AWAY: Final = "ENGINE_AWAY"
"""Reason of errors that mean only that the container engine is unavailable, not that the session has a problem."""
OVERLAY_AWAY: Final = "OVERLAY_AWAY"
"""Reason of errors that mean only that the overlay is not ready on this machine, or does not match the address yet."""


SIGKILL_EXIT: Final = 137
"""Exit code of a container whose PID 1 was killed, by whomever."""


class Status(StrEnum):
    """The status of a container as Docker reports it."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"
    """A removal failed half-way; the container cannot be started any more."""


@dataclass(frozen=True, slots=True)
class Container:
    """A session's container as inspected. One of an earlier epoch is adopted, because it holds the owner's files."""

    id: str
    status: Status
    layers: int
    """Number of layers of the image it was made from."""
    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int = 0
    oom_killed: bool = False
    """The OOM killer ended a process in it during this run, by Docker's flag, which can be lost."""
    ended_by_oom: bool = False
    """The OOM killer ended its PID 1, by the kernel's log; also false where that is not readable."""
    oom_kills: int | None = None
    """Number of OOM kills by the cgroup's counter; None if it cannot be read (any more)."""
    address: str = ""
    """Set while it runs."""
    attachment: Attachment | None = None
    """Also known while it does not run; None if unknown."""
    image: str = ""
    """Id of the image it was made from."""
    files: str = ""
    """Folder on this machine with its writable layer; '' if it is not readable from here."""
    layout: str = ""
    """Digest of the parameters it was made with."""
    limits: Limits | None = None
    """None if unknown."""
    disk_bytes: int = 0
    """The limit of its disk that it was made with; 0 for none."""
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs that it was made with."""
    lxcfs: bool = False
    """Whether it mounts files of lxcfs."""
    holdable: bool = False
    """Its agent can hold it: end all processes but PID 1, and wait until the files are copied."""
    ending: bool = False
    """Its agent was asked to hold it. It does not go back to work."""
    held: bool = False
    """It runs, with PID 1 alone: its files are final, and `docker container prune` leaves what runs."""
    restored: str = ""
    """Uid of the restore in place that it was made for; then it has files of its own before its first start."""

    @property
    def run(self) -> str:
        """Identifies this container and its last run. It changes whenever the content may have changed."""
        return " ".join((self.id, _time(self.started), HELD if self.held else _time(self.ended)))


@dataclass(frozen=True, slots=True)
class SavedImage:
    """A complete and verified snapshot image on this machine, and the run of the container that it captures."""

    snapshot: SnapshotImage
    run: str


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A local image to make a container from."""

    reference: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    """Paths for which the image declares volumes."""
    user: str = ""
    """"USER[:GROUP]" that its command runs as; '' is root."""
    working_dir: str = ""
    """Working directory of its command; '' is /."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything on this machine that belongs to one session."""

    container: Container | None = None
    saved: tuple[SavedImage, ...] = ()
    source: SourceImage | None = None
    """The image that `source_of` names, if it is on this machine."""
    files: SavedFiles | None = None
    last_run: LastRun | None = None
    layout: str = ""
    """Digest of the parameters that a container would be made with now; '' where it does not matter."""
    gpus: frozenset[str] | None = None
    """Ids of the machine's GPUs; None if unknown."""
    lxcfs: bool = False
    """Whether lxcfs is mounted on the machine."""
    cannot_make: str = ""
    """Why the container could not be made again in this generation; '' if that was not tried, or it could."""
    machine: Limits = UNLIMITED
    """What the machine has; 0 where unknown."""
    refused: tuple[Limits, str] | None = None
    """Limits that could not be applied, and why."""
    cannot_pause: str = ""
    """Why the container could not be paused; '' if that was not tried in this generation, or it could."""
    stays_down: str = ""
    """Why a container that ended by itself is not started again; '' if it is."""
    snapshots: Mapping[str, SavedSnapshot] = field(default_factory=dict)
    """By uid: the session's own, where its assignment has orders for them or its files are lost otherwise, and those
    that it may be cloned from."""
    snapshot_traces: frozenset[str] = frozenset()
    """Uids of the session's snapshots of which there is any file, complete or not, where it has orders for them."""
    failures: Mapping[str, SnapshotResult] = field(default_factory=dict)
    """By uid: snapshots that could not be taken."""
    not_restored: RestoreResult | None = None
    """The restore in place that failed last."""
    awaited: bool = False
    """Files that it needs were found damaged a moment ago, and another machine may have them."""
    taking: str = ""
    """Uid of the snapshot that is being taken."""

    @property
    def newest(self) -> SavedImage | None:
        """The latest snapshot on this machine."""
        return max(self.saved, key=lambda image: age_of(image.snapshot), default=None)

    def holding(self, run: str) -> SavedImage | None:
        """The latest image with the content after a run (`Container.run`)."""
        return next((image for image in reversed(self.saved) if image.run == run), None)

    def older_than(self, snapshot: SnapshotImage) -> tuple[SavedImage, ...]:
        """The images older than this one."""
        return tuple(image for image in self.saved if age_of(image.snapshot) < age_of(snapshot))


def age_of(snapshot: SnapshotImage) -> tuple[int, datetime]:
    """Sorts snapshots: by number first, because the clock may have been set back between two of them."""
    return snapshot_number(snapshot.image), snapshot.create_time


def _time(value: datetime | None) -> str:
    return value.isoformat() if value else "-"
