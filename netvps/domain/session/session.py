"""A session (a VPS): its spec, its desired state, and the state its runner last reported."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final

from netvps.domain.access.ssh_key import PublicKey, fingerprint_of
from netvps.domain.checks import Checks, check_labels, shown
from netvps.domain.names import SessionName
from netvps.domain.session.limits import Limits
from netvps.domain.snapshot.snapshot import (
    Restore,
    RestoreResult,
    RestoreState,
    SnapshotOrder,
    SnapshotResult,
    SnapshotSource,
)

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._\-/:@]{0,254}")
_MIB = 1 << 20
_MAX_CPUS, _MIN_CPUS = 1024, 0.01
_MIN_MEMORY = 6 * _MIB  # Docker's minimum
_MIN_SHM, _MAX_SHM = 64 << 10, 1 << 50
_MIN_OPEN_FILES, _MAX_OPEN_FILES = 1024, 1 << 20  # for the agent's connections; the kernel's default of fs.nr_open
_MIN_PIDS, _MAX_PIDS, DEFAULT_PIDS = 16, 4_194_304, 4096
_MAX_ENV, _MAX_ENV_VALUE = 100, 32 * 1024
_MAX_ENV_BYTES, _MAX_KEY_BYTES = 256 * 1024, 128 * 1024
_MAX_KEYS = 50
_MAX_SNAPSHOT_KEEP, _MIN_SNAPSHOT_AGE, _MAX_SNAPSHOT_AGE = 100, 60.0, 3650 * 86_400.0
_MAX_GRACE, DEFAULT_GRACE = 600.0, 10.0
_MAX_RESTARTS = 1000
# Claims of a session without limits, so that the scheduler spreads such sessions, too. The store persists claims.
_UNLIMITED_CPU_CLAIM, _UNLIMITED_MEMORY_CLAIM = 1000, 1 << 30

UPDATABLE: Final = frozenset(
    {
        "cpus",
        "memory_bytes",
        "pids",
        "stop_grace",
        "labels",
        "delete_protection",
        "restart_policy",
        "max_restarts",
    }
)
"""Fields of a spec that change after the creation."""


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
    """Someone logged in while it was paused."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who requested a state, and why."""

    actor: str = ""
    """A user, or the fingerprint of a key that only the session has; '' is netvps itself."""
    cause: ChangeCause = ChangeCause.UNSPECIFIED


UNKNOWN_AUTHOR: Final = Author()


class RestartPolicy(StrEnum):
    """What happens when the container ends by itself."""

    ALWAYS = "ALWAYS"
    ON_FAILURE = "ON_FAILURE"
    """Started again unless its exit code is 0."""
    NEVER = "NEVER"


class Network(StrEnum):
    """The network of a session's container."""

    DEFAULT = "DEFAULT"
    """The overlay if the runner has one, else an isolated bridge on that runner."""
    OVERLAY = "OVERLAY"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """The parameters of a session. The constructor raises InvalidInput with all violations."""

    image: str = ""
    cpus: float = 0.0
    memory_bytes: int = 0
    pids: int = DEFAULT_PIDS
    env: Mapping[str, str] = field(default_factory=dict)
    authorized_keys: tuple[str, ...] = ()
    run_entrypoint: bool = False
    network: Network = Network.DEFAULT
    stop_grace: float = DEFAULT_GRACE
    """Seconds between SIGTERM and SIGKILL."""
    labels: Mapping[str, str] = field(default_factory=dict)
    shm_bytes: int = 0
    """Size of /dev/shm; 0 means half of the memory limit, or half of the machine's memory if there is no limit."""
    open_files: int = 0
    """Limit for each process; 0 means the default of the runner's Docker."""
    delete_protection: bool = False
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    max_restarts: int = 0
    """For ON_FAILURE: failures in a row after which it stays stopped; 0 means no limit."""
    snapshot_keep: int = 0
    """Snapshots of stops that are kept; 0 means the default (domain.snapshot.retention)."""
    snapshot_max_age: float = 0.0
    """Seconds after which automatic snapshots are deleted; 0 means no limit."""

    def __post_init__(self) -> None:
        checks = Checks()
        need = checks.require
        need(
            not self.image or bool(_IMAGE.fullmatch(self.image)),
            "image",
            f"{shown(self.image)} is not an image reference: use NAME[:TAG], for example debian:12",
        )
        need(
            self.cpus == 0 or (math.isfinite(self.cpus) and _MIN_CPUS <= self.cpus <= _MAX_CPUS),
            "cpus",
            f"{self.cpus} is not between {_MIN_CPUS} and {_MAX_CPUS}; 0 means no limit",
        )
        need(
            self.memory_bytes == 0 or self.memory_bytes >= _MIN_MEMORY,
            "memory_bytes",
            f"{self.memory_bytes} is less than {_MIN_MEMORY} (6 MiB); 0 means no limit",
        )
        need(
            self.shm_bytes == 0 or _MIN_SHM <= self.shm_bytes <= _MAX_SHM,
            "shm_bytes",
            f"{self.shm_bytes} is not between {_MIN_SHM} (64 KiB) and {_MAX_SHM} (1 PiB); 0 means half of the memory",
        )
        need(
            self.open_files == 0 or _MIN_OPEN_FILES <= self.open_files <= _MAX_OPEN_FILES,
            "open_files",
            f"{self.open_files} is not between {_MIN_OPEN_FILES} and {_MAX_OPEN_FILES}; 0 means Docker's default",
        )
        need(_MIN_PIDS <= self.pids <= _MAX_PIDS, "pids", f"{self.pids} is not between {_MIN_PIDS} and {_MAX_PIDS}")
        need(
            0 <= self.stop_grace <= _MAX_GRACE,
            "stop_grace",
            f"{self.stop_grace} is not between 0 and {_MAX_GRACE:.0f} seconds",
        )
        need(
            0 <= self.max_restarts <= _MAX_RESTARTS,
            "max_restarts",
            f"{self.max_restarts} is not between 1 and {_MAX_RESTARTS}; 0 means no limit",
        )
        self._check_env(checks)
        check_labels(checks, self.labels)
        self._check_retention(checks)
        need(len(self.authorized_keys) <= _MAX_KEYS, "authorized_keys", f"more than {_MAX_KEYS} keys")
        for index, key in enumerate(self.authorized_keys[:_MAX_KEYS]):
            with checks.nested():
                PublicKey.parse(key, f"authorized_keys[{index}]")
        checks.done()

    def updated(self, spec: SessionSpec, fields: Iterable[str]) -> SessionSpec:
        """The spec with these fields taken from another one. Raises InvalidInput."""
        return replace(self, **{field: getattr(spec, field) for field in fields})

    @property
    def limits(self) -> Limits:
        """What changes while the session runs."""
        return Limits(self.cpus, self.memory_bytes, self.pids)

    def require_size(self) -> None:
        """Raises InvalidInput if environment or keys are too large for a new session.

        Existing sessions may exceed the limit.
        """
        checks = Checks()
        env = sum(len(name.encode()) + len(value.encode()) for name, value in self.env.items())
        checks.require(env <= _MAX_ENV_BYTES, "env", f"{env} bytes in all are more than {_MAX_ENV_BYTES}: use a file")
        keys = sum(map(len, self.authorized_keys))
        checks.require(
            keys <= _MAX_KEY_BYTES,
            "authorized_keys",
            f"{keys} bytes in all are more than {_MAX_KEY_BYTES}: leave some out, or use shorter keys",
        )
        checks.done()

    def _check_retention(self, checks: Checks) -> None:
        checks.require(
            0 <= self.snapshot_keep <= _MAX_SNAPSHOT_KEEP,
            "snapshot_keep",
            f"{self.snapshot_keep} is not between 1 and {_MAX_SNAPSHOT_KEEP}; 0 means the default",
        )
        checks.require(
            self.snapshot_max_age == 0 or _MIN_SNAPSHOT_AGE <= self.snapshot_max_age <= _MAX_SNAPSHOT_AGE,
            "snapshot_max_age",
            f"{self.snapshot_max_age:g} seconds are not between 1 minute and 10 years; 0 means no limit",
        )

    def _check_env(self, checks: Checks) -> None:
        checks.require(len(self.env) <= _MAX_ENV, "env", f"{len(self.env)} variables are more than {_MAX_ENV}")
        for name, value in self.env.items():
            path = f"env[{shown(name)}]"
            checks.require(bool(_ENV_NAME.fullmatch(name)), path, "a name is letters, digits and '_', no digit first")
            checks.require(
                len(value) <= _MAX_ENV_VALUE and "\0" not in value,
                path,
                f"a value has at most {_MAX_ENV_VALUE} characters and no NUL",
            )


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
    limits_before: Limits | None = None
    """The limits to go back to if the runner refuses those of the spec; None if they are applied."""

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
    def awaits(self) -> str:
        """Uid of the snapshot that it is made from, as long as it has no files of its own; else ''."""
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
