"""A session (a VPS): its desired state, and the state its runner last reported."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final

from netvps.domain.access.ssh_key import fingerprint_of
from netvps.domain.moves.move import Move, MoveStage
from netvps.domain.names import SessionName
from netvps.domain.session.limits import Limits
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.snapshot import (
    Restore,
    RestoreResult,
    RestoreState,
    SnapshotOrder,
    SnapshotResult,
    SnapshotSource,
)

# Claims of a session without limits, so that the scheduler spreads such sessions, too. The store persists claims.
_UNLIMITED_CPU_CLAIM, _UNLIMITED_MEMORY_CLAIM = 1000, 1 << 30


class SessionState(StrEnum):
    """The observed state; the values are those of the API."""

    PENDING = "PENDING"
    PREPARING = "PREPARING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPING = "STOPPING"
    SNAPSHOTTING = "SNAPSHOTTING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    UNREACHABLE = "UNREACHABLE"
    DELETED = "DELETED"


class DesiredState(StrEnum):
    """The state that the owner wants."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    DELETED = "DELETED"
    PAUSED = "PAUSED"


class ChangeCause(StrEnum):
    """Why the desired state changed."""

    UNSPECIFIED = "UNSPECIFIED"
    """Not known: an earlier version of netvps did not record it."""
    PERSON = "PERSON"
    IDLE = "IDLE"
    SCHEDULE = "SCHEDULE"
    LIFETIME = "LIFETIME"
    DRAIN = "DRAIN"
    ENDED = "ENDED"
    """The container ended by itself, and the restart policy keeps it stopped."""
    LOGIN = "LOGIN"
    """Someone logged in while it was paused or stopped."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who requested a state, and why."""

    actor: str = ""
    """A user, or the fingerprint of a key that only the session has; '' is netvps itself."""
    cause: ChangeCause = ChangeCause.UNSPECIFIED


UNKNOWN_AUTHOR: Final = Author()
OWN_RULE: Final = "own"


@dataclass(frozen=True, slots=True)
class SnapshotImage:
    """A committed file system of a session."""

    uid: str
    session_uid: str
    image: str
    digest: str
    size_bytes: int
    layers: int
    runner: str
    """NAME of the runner that holds it."""
    generation: int
    create_time: datetime


@dataclass(frozen=True, slots=True)
class LastExit:
    """How a container ended; `cause` is stopped, exit, oom, killed or runner_lost."""

    exit_code: int
    cause: str
    end_time: datetime
    author: Author = UNKNOWN_AUTHOR
    """Who requested it, if it was stopped."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as stored."""

    kind: ClassVar[str] = "session"

    uid: str
    name: str
    owner: str
    spec: SessionSpec
    desired: DesiredState
    generation: int
    create_time: datetime
    update_time: datetime
    state: SessionState = SessionState.PENDING
    observed_generation: int = 0
    reason: str = ""
    message: str = ""
    runner: str = ""
    """Uid of the runner that it is placed on, or ''."""
    runner_name: str = ""
    epoch: int = 0
    snapshot: SnapshotImage | None = None
    last_exit: LastExit | None = None
    address: str = ""
    """The address that its runner reports."""
    overlay_address: str = ""
    """Its unique overlay address; '' if it is not on the overlay."""
    local_address: str = ""
    """The address of its runner's subnet that its container gets from the engine, if it moved there with an overlay
    address of another subnet; else ''. Its processes and other sessions never see it.
    """
    snapshot_orders: tuple[SnapshotOrder, ...] = ()
    """What its runner should do with its snapshots."""
    restore: Restore | None = None
    """The latest restore in place."""
    source: SnapshotSource | None = None
    """What it was cloned from."""
    revision: int = 0
    desired_by: Author = UNKNOWN_AUTHOR
    stopped_by: Author = UNKNOWN_AUTHOR
    """Who requested the last stop or deletion."""
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs that it holds, from its placement or start until it is stopped; no other session has them."""
    gpus_before: tuple[str, ...] = ()
    """Those that it held last, if it is stopped."""
    limits_before: Limits | None = None
    """The limits to go back to if the runner refuses those of the spec; None if they are applied."""
    move: Move | None = None
    """The latest move to another runner."""
    desired_time: datetime | None = None
    """When `desired` last changed; None: before this was recorded."""
    run_time: datetime | None = None
    """When it was last asked to run, other than by a resume; None: before this was recorded."""
    kept_until: datetime | None = None
    """End of a lease from inside (nv keep), until when the idle rules do not stop it."""
    robot_wakes: int = 0
    """Stops by a person in a row that a login without a terminal undid within minutes (domain.sleep.waking)."""

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.uid

    @property
    def full_name(self) -> SessionName:
        """NAME and OWNER."""
        return SessionName(self.owner, self.name)

    @property
    def pending_restore(self) -> Restore | None:
        """The restore in place that its runner has not reported about yet."""
        return self.restore if self.restore and self.restore.state is RestoreState.PENDING else None

    @property
    def moving(self) -> str:
        """Is "open" while it is to leave its runner; else ''. A column of the store."""
        return "open" if self.move and self.move.is_open else ""

    @property
    def arrival(self) -> SnapshotSource | None:
        """Its own snapshot that its runner makes it from, as long as it has not run there, though it moves on."""
        move = self.move
        if move is None or not (
            move.stage is MoveStage.ARRIVING or (move.awaited and move.stage is not MoveStage.DONE)
        ):
            return None
        return SnapshotSource(move.snapshot if move.stage is MoveStage.ARRIVING else move.base, self.uid)

    @property
    def made_from(self) -> SnapshotSource | None:
        """What its runner makes it from where it has no files of it: never its plain image, once there is more."""
        move = self.move
        if move is None or self.snapshot is not None:
            return self.source
        own = move.snapshot if move.stage in {MoveStage.ARRIVING, MoveStage.DONE} else move.base
        return SnapshotSource(own, self.uid) if own else self.source

    @property
    def awaits(self) -> str:
        """Uid of the snapshot that it is made from, as long as it has no files where it is; else ''."""
        if self.arrival:
            return self.arrival.uid
        return self.source.uid if self.source and not self.source.consumed else ""

    @property
    def key_fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of the keys in its spec, sorted and without duplicates."""
        return tuple(sorted(set(map(fingerprint_of, self.spec.authorized_keys))))

    @property
    def cpu_claim(self) -> int:
        """Millicores that it counts for in scheduling; 1000 if it has no limit."""
        return round(self.spec.cpus * 1000) or _UNLIMITED_CPU_CLAIM

    @property
    def memory_claim(self) -> int:
        """Bytes that it counts for in scheduling; 1 GiB if it has no limit."""
        return self.spec.memory_bytes or _UNLIMITED_MEMORY_CLAIM

    @property
    def disk_claim(self) -> int:
        """Bytes that it counts for in scheduling, also while it is stopped; 0 if it has no limit."""
        return self.spec.disk_bytes

    @property
    def sleep_rule(self) -> str:
        """Is OWN_RULE if its spec says when it sleeps; else ''. A column of the store."""
        return OWN_RULE if any(astuple(self.spec.sleep)) else ""

    @property
    def gpu_holder(self) -> str:
        """Uid of the runner whose GPUs it holds; '' if it holds none."""
        return self.runner if self.gpus else ""


@dataclass(frozen=True, slots=True)
class SessionReport:
    """A runner's report about one session, for the epoch and the generation that it names."""

    session_uid: str
    epoch: int
    generation: int
    state: SessionState
    reason: str = ""
    message: str = ""
    address: str = ""
    snapshot: SnapshotImage | None = None
    """A complete and verified snapshot to be recorded."""
    last_exit: LastExit | None = None
    progress: str = ""
    """Progress of the current action, for people; never stored."""
    snapshots: tuple[SnapshotResult, ...] = ()
    restore: RestoreResult | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """The desired state of one session, for its runner."""

    session_uid: str
    session_id: str
    owner_id: str
    epoch: int
    generation: int
    desired: DesiredState
    spec: SessionSpec
    snapshot: SnapshotImage | None
    revision: int
    address: str = ""
    """Address on the overlay; '' if it is not on it."""
    snapshot_orders: tuple[SnapshotOrder, ...] = ()
    restore: Restore | None = None
    """The restore to carry out."""
    source: SnapshotSource | None = None
    """What to make it from where it has no files yet."""
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs that it holds."""
    local_address: str = ""
    """The address that the engine gives its container, if `address` is of another runner's subnet; else ''."""
