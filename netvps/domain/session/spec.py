"""The parameters of a session (a VPS), as its owner gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.checks import Checks, check_labels, shown
from netvps.domain.runner.gpu import GPU_ID, MAX_GPUS
from netvps.domain.session.limits import Limits
from netvps.domain.sleep.policy import SleepPolicy, WakePolicy
from netvps.domain.snapshot.policy import SnapshotPolicy

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._\-/:@]{0,254}")
_MIB = 1 << 20
_MAX_CPUS, _MIN_CPUS = 1024, 0.01
_MIN_MEMORY = 6 * _MIB  # Docker's minimum
_MIN_SHM, _MAX_SHM = 64 << 10, 1 << 50
_MIN_OPEN_FILES, _MAX_OPEN_FILES = 1024, 1 << 20  # for the agent's connections; the kernel's default of fs.nr_open
_MIN_DISK, _MAX_DISK = 64 * _MIB, 1 << 50
_MIN_PIDS, _MAX_PIDS, DEFAULT_PIDS = 16, 4_194_304, 4096
_MAX_ENV, _MAX_ENV_VALUE = 100, 32 * 1024
_MAX_ENV_BYTES, _MAX_KEY_BYTES = 256 * 1024, 128 * 1024
_MAX_ARGUMENTS, _MAX_ARGUMENT, _MAX_COMMAND_BYTES = 100, 32 * 1024, 128 * 1024
_MAX_KEYS = 50
_MAX_SNAPSHOT_KEEP, _MIN_SNAPSHOT_AGE, _MAX_SNAPSHOT_AGE = 100, 60.0, 3650 * 86_400.0
_MAX_GRACE, DEFAULT_GRACE = 600.0, 10.0
_MAX_RESTARTS = 1000

UPDATABLE: Final = frozenset(
    {
        "cpus",
        "disk_bytes",
        "memory_bytes",
        "pids",
        "sleep",
        "stop_grace",
        "labels",
        "delete_protection",
        "restart_policy",
        "max_restarts",
        "snapshot_keep",
        "snapshot_max_age",
        "snapshot_policy",
        "wake",
    }
)
"""Fields of a spec that change after the creation."""


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


class Placement(StrEnum):
    """Which of the runners that have room gets a session."""

    DEFAULT = "DEFAULT"
    """The server's; without one SPREAD."""
    SPREAD = "SPREAD"
    """The one with the most room."""
    PACK = "PACK"
    """The one with the least room, so that others stay free for large sessions, or can be switched off."""


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
    command: tuple[str, ...] = ()
    """In place of the image's command, after its entrypoint; () is the image's own."""
    network: Network = Network.DEFAULT
    stop_grace: float = DEFAULT_GRACE
    """Seconds between SIGTERM and SIGKILL."""
    labels: Mapping[str, str] = field(default_factory=dict)
    shm_bytes: int = 0
    """Size of /dev/shm; 0 means half of the memory limit, or half of the machine's memory if there is no limit."""
    open_files: int = 0
    """Limit for each process; 0 means the default of the runner's Docker."""
    disk_bytes: int = 0
    """Limit of what its container writes; 0 means no limit. A new one holds from the next start on."""
    gpus: int = 0
    """Number of GPUs; 0 with `gpu_ids`, and for none."""
    gpu_ids: tuple[str, ...] = ()
    """These GPUs and no others."""
    delete_protection: bool = False
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    max_restarts: int = 0
    """For ON_FAILURE: failures in a row after which it stays stopped; 0 means no limit."""
    snapshot_keep: int = 0
    """Snapshots of stops that are kept; 0 means the default (domain.snapshot.retention)."""
    snapshot_max_age: float = 0.0
    """Seconds after which automatic snapshots are deleted; 0 means no limit."""
    snapshot_policy: SnapshotPolicy = field(default_factory=SnapshotPolicy)
    wake: WakePolicy = WakePolicy.DEFAULT
    """Which logins start it once it is stopped."""
    sleep: SleepPolicy = field(default_factory=SleepPolicy)
    """When it is paused and stopped by itself."""
    runner_filter: str = ""
    """It is placed on no runner that this filter (domain.filter) does not match."""
    placement: Placement = Placement.DEFAULT

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
        need(
            self.disk_bytes == 0 or _MIN_DISK <= self.disk_bytes <= _MAX_DISK,
            "disk_bytes",
            f"{self.disk_bytes} is not between {_MIN_DISK} (64 MiB) and {_MAX_DISK} (1 PiB); 0 means no limit",
        )
        self._check_gpus(checks)
        self._check_env(checks)
        self._check_command(checks)
        check_labels(checks, self.labels)
        if self.runner_filter:
            from netvps.domain.filter.kinds import check_runner_filter  # it knows sessions, and so their specs

            with checks.nested():
                check_runner_filter(self.runner_filter, "runner_filter")
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

    @property
    def gpu_count(self) -> int:
        """Number of GPUs that it gets."""
        return self.gpus or len(self.gpu_ids)

    def _check_gpus(self, checks: Checks) -> None:
        checks.require(0 <= self.gpus <= MAX_GPUS, "gpus", f"{self.gpus} is not between 1 and {MAX_GPUS}; 0 means none")
        checks.require(
            not (self.gpus and self.gpu_ids), "gpus", f"{self.gpus} excludes gpu_ids: give a number or ids, not both"
        )
        count = len(self.gpu_ids)
        checks.require(count <= MAX_GPUS, "gpu_ids", f"{count} GPUs are more than {MAX_GPUS}")
        checks.require(len(set(self.gpu_ids)) == count, "gpu_ids", "a GPU is named twice: name each one once")
        for index, gpu in enumerate(self.gpu_ids[:MAX_GPUS]):
            known = bool(GPU_ID.fullmatch(gpu))
            remedy = "is not the UUID of a GPU: see netvps runner show NAME, or nvidia-smi -L"
            checks.require(known, f"gpu_ids[{index}]", f"{shown(gpu)} {remedy}")

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

    def _check_command(self, checks: Checks) -> None:
        need = checks.require
        need(not self.command or self.run_entrypoint, "command", "it is run with the image's entrypoint only: set that")
        need(
            len(self.command) <= _MAX_ARGUMENTS,
            "command",
            f"{len(self.command)} arguments are more than {_MAX_ARGUMENTS}",
        )
        size = sum(len(argument.encode()) for argument in self.command)
        need(
            size <= _MAX_COMMAND_BYTES, "command", f"{size} bytes in all are more than {_MAX_COMMAND_BYTES}: use a file"
        )
        for index, argument in enumerate(self.command[:_MAX_ARGUMENTS]):
            need(
                len(argument) <= _MAX_ARGUMENT and "\0" not in argument,
                f"command[{index}]",
                f"an argument has at most {_MAX_ARGUMENT} characters and no NUL",
            )
