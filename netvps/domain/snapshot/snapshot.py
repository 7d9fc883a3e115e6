"""A snapshot: the files of a session at one time; what a runner is ordered to do with it, and what it reports.

    CREATING → READY → DELETING → (gone)
    CREATING → FAILED → DELETING → (gone)

Orders are level-based as assignments are: an order stays in the assignment of its session until the runner reports the
result, so late, doubled or lost messages change nothing. A snapshot without an order does not change.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, Final

from netvps.domain.checks import Checks, check_labels, shown
from netvps.domain.names import SNAPSHOT_ID_MAX, check_label
from netvps.domain.snapshot.policy import MAX_COPIES

_MAX_DESCRIPTION: Final = 500


class SnapshotState(StrEnum):
    """The state of a snapshot; the values are those of the API."""

    CREATING = "CREATING"
    READY = "READY"
    FAILED = "FAILED"
    DELETING = "DELETING"


class SnapshotCause(StrEnum):
    """Why a snapshot was taken."""

    REQUEST = "REQUEST"
    STOP = "STOP"
    RESTORE = "RESTORE"
    """It holds the state that a restore in place replaced."""
    CLONE = "CLONE"
    SCHEDULE = "SCHEDULE"
    IMPORT = "IMPORT"
    MOVE = "MOVE"
    """The session moved to another runner."""


class RestoreState(StrEnum):
    """How far a restore in place is."""

    PENDING = "PENDING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Holder:
    """A runner that holds a snapshot."""

    runner: str
    """Uid."""
    name: str
    damaged: bool = False
    """Its files did not match their digest: they are not used."""
    leaving: bool = False
    """The session left it, and it erases its files once others have them: it can be read from, and does not count."""


@dataclass(frozen=True, slots=True)
class SnapshotDraft:
    """What is chosen of a snapshot; '' as `id`: by the server. Raises InvalidInput with all violations."""

    id: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    pinned: bool = False
    copies: int = 0
    """Number of runners that should hold it; 0: as many as the session's policy says."""

    def __post_init__(self) -> None:
        checks = Checks()
        with checks.nested():
            if self.id:
                check_label(self.id, "snapshot_id", SNAPSHOT_ID_MAX)
        check_description(checks, self.description)
        _check_copies(checks, self.copies or 1)
        check_labels(checks, self.labels)
        checks.done()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as stored."""

    kind: ClassVar[str] = "snapshot"

    uid: str
    session: str
    """Uid of the session."""
    session_name: str
    owner: str
    id: str
    """Unique per session."""
    cause: SnapshotCause
    create_time: datetime
    update_time: datetime
    state: SnapshotState = SnapshotState.CREATING
    reason: str = ""
    message: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    pinned: bool = False
    size_bytes: int = 0
    digest: str = ""
    """Id of the image below the files."""
    holders: tuple[Holder, ...] = ()
    warnings: tuple[str, ...] = ()
    """What it does not hold, for people."""
    ready_time: datetime | None = None
    copies: int = 1
    """Number of runners that should hold it."""
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.uid

    @property
    def full_name(self) -> str:
        """SESSION.OWNER/ID."""
        return f"{self.session_name}.{self.owner}/{self.id}"

    @property
    def usable(self) -> tuple[Holder, ...]:
        """The holders whose files are not known to be damaged."""
        return tuple(holder for holder in self.holders if not holder.damaged)

    @property
    def counted(self) -> tuple[Holder, ...]:
        """The usable holders that stay."""
        return tuple(holder for holder in self.usable if not holder.leaving)

    @property
    def lacks(self) -> str:
        """Is "copies" while fewer runners hold it than should; else ''. A column of the store."""
        return "copies" if self.state is SnapshotState.READY and len(self.counted) < self.copies else ""

    @property
    def automatic(self) -> bool:
        """Whether it was taken without a request, so that retention may delete it."""
        return self.cause not in {SnapshotCause.REQUEST, SnapshotCause.IMPORT}


@dataclass(frozen=True, slots=True)
class SnapshotChange:
    """New values for a snapshot; None means no change. Raises InvalidInput with all violations."""

    description: str | None = None
    labels: Mapping[str, str] | None = None
    pinned: bool | None = None
    copies: int | None = None

    def __post_init__(self) -> None:
        checks = Checks()
        given = (self.description, self.labels, self.pinned, self.copies)
        checks.require(any(one is not None for one in given), "update_mask", "name description, labels, pinned, copies")
        _check_copies(checks, 1 if self.copies is None else self.copies)
        check_description(checks, self.description or "")
        check_labels(checks, self.labels or {})
        checks.done()

    def of(self, snapshot: Snapshot) -> Snapshot:
        """The changed snapshot."""
        return replace(
            snapshot,
            description=snapshot.description if self.description is None else self.description,
            labels=snapshot.labels if self.labels is None else self.labels,
            pinned=snapshot.pinned if self.pinned is None else self.pinned,
            copies=snapshot.copies if self.copies is None else self.copies,
        )


@dataclass(frozen=True, slots=True)
class SnapshotOrder:
    """The desired state of a snapshot on its session's runner."""

    uid: str
    delete: bool = False
    """It should be gone; else it should exist."""


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    """What became of an order: READY, FAILED, or DELETING once it is gone."""

    uid: str
    state: SnapshotState
    reason: str = ""
    message: str = ""
    size_bytes: int = 0
    digest: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restore:
    """A restore in place: its order while it is PENDING, then its outcome."""

    uid: str
    snapshot: str
    """Uid of the snapshot to restore."""
    previous: str
    """Uid of the snapshot of the state that it replaces."""
    create_time: datetime
    state: RestoreState = RestoreState.PENDING
    message: str = ""


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What became of a restore: DONE, or FAILED with the session's files as they were."""

    uid: str
    state: RestoreState
    message: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """The snapshot of another session that a session is made from."""

    uid: str
    session: str
    """Uid of that session."""
    name: str = ""
    """"SESSION.OWNER/ID" when the clone was requested, for people."""
    consumed: bool = False
    """The clone has run, so it has files of its own."""


def free_id(taken: Iterable[str], now: datetime) -> str:
    """An id made of the time, in UTC, that no other snapshot of the session has."""
    known, stem = set(taken), f"{now.astimezone(UTC):%Y%m%d-%H%M%S}"
    ids = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(one for one in ids if one not in known)


def ready(snapshot: Snapshot, result: SnapshotResult, holder: Holder, now: datetime) -> Snapshot:
    """The snapshot once its runner holds it."""
    return replace(
        snapshot,
        state=SnapshotState.READY,
        reason="",
        message="",
        size_bytes=result.size_bytes,
        digest=result.digest,
        warnings=result.warnings,
        holders=(holder,),
        ready_time=now,
        update_time=now,
    )


def failed(snapshot: Snapshot, result: SnapshotResult, now: datetime) -> Snapshot:
    """The snapshot once its runner gave up."""
    return replace(snapshot, state=SnapshotState.FAILED, reason=result.reason, message=result.message, update_time=now)


def check_description(checks: Checks, description: str) -> None:
    """Records a violation unless it has at most 500 printable characters."""
    checks.require(
        len(description) <= _MAX_DESCRIPTION and description.isprintable(),
        "description",
        f"{shown(description)} is not up to {_MAX_DESCRIPTION} printable characters",
    )


def _check_copies(checks: Checks, copies: int) -> None:
    checks.require(1 <= copies <= MAX_COPIES, "copies", f"{copies} is not between 1 and {MAX_COPIES}")
