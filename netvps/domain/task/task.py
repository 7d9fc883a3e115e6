"""A task, as stored, and what its runner is ordered and reports."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final

from netvps.domain.names import SessionName
from netvps.domain.session.spec import SessionSpec
from netvps.domain.task.spec import TaskSpec

_MEMORY_CLAIM: Final = 1 << 30
"""Bytes that a task without a limit counts for."""
MAX_OPEN: Final = 1000
"""Tasks of a user that have not ended."""
MAX_KEPT: Final = 2000
"""Tasks of a user in all: those that ended first are removed for new ones."""
KEPT_SECONDS: Final = 3 * 86_400.0
"""How long a task that ended is kept."""


class TaskState(StrEnum):
    """The state; the values are those of the API."""

    PENDING = "PENDING"
    PREPARING = "PREPARING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"


OPEN: Final = (TaskState.PENDING, TaskState.PREPARING, TaskState.RUNNING)
PLACED: Final = (TaskState.PREPARING, TaskState.RUNNING)
"""States in which a task has CPUs, memory and GPUs of its runner."""
ENDED: Final = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.LOST)


class TaskCause(StrEnum):
    """Why a task did not succeed; the values are those of the API."""

    NONE = "UNSPECIFIED"
    EXIT_CODE = "EXIT_CODE"
    OOM = "OOM"
    KILLED = "KILLED"
    TIMEOUT = "TIMEOUT"
    IMAGE = "IMAGE"
    START = "START"
    RUNNER_LOST = "RUNNER_LOST"


class TaskAction(StrEnum):
    """What a runner does with a task; the values are those of the API."""

    RUN = "RUN"
    CANCEL = "CANCEL"
    KEEP = "KEEP"
    REMOVE = "REMOVE"


@dataclass(frozen=True, slots=True)
class Task:
    """A command, and what became of it. One without a runner waits, or ended without one."""

    kind: ClassVar[str] = "task"

    id: str
    """Uid; for a task of an array with "-" and its index."""
    array: str
    """Uid of the array, or of the task itself."""
    owner: str
    job: TaskSpec
    create_time: datetime
    index: int = 0
    count: int = 1
    state: TaskState = TaskState.PENDING
    cause: TaskCause = TaskCause.NONE
    exit_code: int | None = None
    message: str = ""
    runner: str = ""
    """Uid."""
    runner_name: str = ""
    epoch: int = 0
    """How often it was placed. Reports of earlier epochs are ignored."""
    losses: int = 0
    """How often it was placed again after its runner was lost."""
    start_time: datetime | None = None
    end_time: datetime | None = None
    cancelled: bool = False
    """Its end was requested."""
    removed: bool = False
    """Its runner removes the container; then the task is deleted."""
    gpus: tuple[str, ...] = ()
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.id

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED

    @property
    def action(self) -> TaskAction:
        """What its runner does with it. A column of the store."""
        if self.removed:
            return TaskAction.REMOVE
        if self.has_ended:
            return TaskAction.KEEP
        return TaskAction.CANCEL if self.cancelled else TaskAction.RUN

    @property
    def spec(self) -> SessionSpec:
        """What its container is made with; by it, tasks are placed as sessions are."""
        return self.job.container

    @property
    def full_name(self) -> SessionName:
        """Its id and owner, in messages about GPUs."""
        return SessionName(self.owner, self.id)

    @property
    def cpu_claim(self) -> int:
        """Millicores that it counts for on its runner. A column of the store, as the next two."""
        return round(self.spec.cpus * 1000)

    @property
    def memory_claim(self) -> int:
        """Bytes that it counts for on its runner; 1 GiB if it has no limit."""
        return self.spec.memory_bytes or _MEMORY_CLAIM

    @property
    def gpu_holder(self) -> str:
        """Uid of the runner whose GPUs it holds; '' if it holds none."""
        return self.runner if self.gpus and not self.has_ended else ""

    @property
    def disk_claim(self) -> int:
        """Tasks have no limit of their disk."""
        return 0

    @property
    def gpus_before(self) -> tuple[str, ...]:
        """A task that is placed again gets any GPUs."""
        return ()


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """The desired state of a task on its runner."""

    id: str
    epoch: int
    action: TaskAction
    owner: str = ""
    """This and the rest: with RUN and CANCEL only."""
    job: TaskSpec | None = None
    gpus: tuple[str, ...] = ()
    index: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What became of an order."""

    id: str
    epoch: int
    state: TaskState
    cause: TaskCause = TaskCause.NONE
    exit_code: int | None = None
    message: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    gone: bool = False
    """Nothing is left of it: the answer to REMOVE."""


def order_of(task: Task) -> TaskOrder:
    """What its runner is to do with a task."""
    if task.action in {TaskAction.KEEP, TaskAction.REMOVE}:
        return TaskOrder(task.id, task.epoch, task.action)
    return TaskOrder(task.id, task.epoch, task.action, task.owner, task.job, task.gpus, task.index, task.count)
