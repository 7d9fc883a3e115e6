"""Tasks and their specs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from netvps.api.v1 import task_pb2 as pb
from netvps.domain.checks import Checks
from netvps.domain.names import check_task_id
from netvps.domain.session.exec import Stderr, Stdout
from netvps.domain.session.spec import Placement, SessionSpec
from netvps.domain.task.spec import DEFAULT_CPUS, TaskSpec
from netvps.domain.task.task import Task, TaskCause, TaskState
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.session.sessions import PLACEMENT
from netvps.rpc.convert.texts import sentence, word
from netvps.rpc.convert.times import (
    duration_from_proto,
    duration_to_proto,
    optional_time_from_proto,
    time_from_proto,
    time_to_proto,
)

TASK_STATE: Final = EnumPair(TaskState, pb.TaskState, "TASK_STATE_")
TASK_CAUSE: Final = EnumPair(TaskCause, pb.TaskCause, "TASK_CAUSE_")
_PREFIX: Final = "tasks/"
_MAX_TAIL: Final = 100_000
MAX_WAIT: Final = 60.0
"""Seconds of one call."""


@dataclass(frozen=True, slots=True)
class NewTasks:
    """The tasks that are wanted."""

    job: TaskSpec
    count: int
    request_id: str


@dataclass(frozen=True, slots=True)
class WaitForTasks:
    """What is waited for, and for how long."""

    name: str
    seconds: float
    started: bool


@dataclass(frozen=True, slots=True)
class ReadTaskLogs:
    """The log that is wanted."""

    task_id: str
    tail_lines: int
    follow: bool


@dataclass(frozen=True, slots=True)
class TaskList:
    """The list that is wanted."""

    parent: str
    array: str
    unfinished: bool


def task_name(task_id: str) -> str:
    """The resource name for the id of a task or an array."""
    return _PREFIX + task_id


def parse_task_name(text: str, field: str = "name") -> str:
    """Parses "tasks/ID" into ID. Raises InvalidInput."""
    return check_task_id(text.removeprefix(_PREFIX), field)


def create_from_proto(message: pb.CreateTasksRequest) -> NewTasks:
    """Parses the request. Raises InvalidInput."""
    checks, job, count = Checks(), TaskSpec(("true",)), message.count or 1
    with checks.nested("spec"):
        job = task_spec_from_proto(message.spec)
    with checks.nested():
        job.require_count(count)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return NewTasks(job, count, message.request_id)


def list_from_proto(message: pb.ListTasksRequest) -> TaskList:
    """Parses the request. Raises InvalidInput."""
    checks, parent, array = Checks(), "", ""
    with checks.nested():
        parent = names.parse_parent(message.parent)
    with checks.nested():
        array = parse_task_name(message.array, "array") if message.array else ""
        checks.require("-" not in array, "array", "it is one task of an array: name the array, without its index")
    checks.done()
    return TaskList(parent, array, message.open)


def wait_from_proto(message: pb.WaitTasksRequest) -> WaitForTasks:
    """Parses the request. Raises InvalidInput."""
    checks, name = Checks(), ""
    with checks.nested():
        name = parse_task_name(message.name)
    seconds = duration_from_proto(message.timeout)
    checks.require(0 <= seconds <= MAX_WAIT, "timeout", f"{seconds:g} s are not between 0 and {MAX_WAIT:g} s")
    checks.done()
    return WaitForTasks(name, seconds, message.started)


def read_logs_from_proto(message: pb.ReadTaskLogsRequest) -> ReadTaskLogs:
    """Parses the request. Raises InvalidInput."""
    checks, name, tail = Checks(), "", message.tail_lines
    with checks.nested():
        name = parse_task_name(message.name)
    checks.require(0 <= tail <= _MAX_TAIL, "tail_lines", f"{tail} is not between 1 and {_MAX_TAIL}; 0 means all")
    checks.done()
    return ReadTaskLogs(name, tail, message.follow)


def log_piece_from_proto(message: pb.ReadTaskLogsResponse) -> Stdout | Stderr:
    """A piece of a log."""
    return Stderr(message.stderr) if message.WhichOneof("piece") == "stderr" else Stdout(message.stdout)


def task_to_proto(task: Task, *, env: bool = True) -> pb.Task:
    """Converts a task; lists leave the environment out."""
    return pb.Task(
        name=task_name(task.id),
        owner=names.user_name(task.owner),
        spec=task_spec_to_proto(task.job, env=env),
        state=TASK_STATE.to_proto(task.state),
        cause=TASK_CAUSE.to_proto(task.cause),
        exit_code=task.exit_code,
        message=task.message,
        runner=names.runner_name(task.runner_name),
        index=task.index,
        count=task.count,
        epoch=task.epoch,
        create_time=time_to_proto(task.create_time),
        start_time=time_to_proto(task.start_time) if task.start_time else None,
        end_time=time_to_proto(task.end_time) if task.end_time else None,
        cancel_requested=task.cancelled,
        gpus=task.gpus,
        revision=task.revision,
    )


def task_from_proto(message: pb.Task) -> Task:
    """Parses a task as a client sees it: without the uid of its runner. Raises InvalidInput."""
    task_id = parse_task_name(message.name)
    return Task(
        id=task_id,
        array=task_id.partition("-")[0],
        owner=names.parse_user_name(message.owner, "owner"),
        job=task_spec_from_proto(message.spec),
        create_time=time_from_proto(message, "create_time"),
        index=message.index,
        count=message.count,
        state=TASK_STATE.from_proto(message.state, "state"),
        cause=TASK_CAUSE.from_proto(message.cause, "cause"),
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        message=sentence(message.message),
        runner_name=names.parse_runner_name(message.runner, "runner") if message.runner else "",
        epoch=message.epoch,
        start_time=optional_time_from_proto(message, "start_time"),
        end_time=optional_time_from_proto(message, "end_time"),
        cancelled=message.cancel_requested,
        gpus=tuple(word(gpu, "gpus") for gpu in message.gpus),
        revision=message.revision,
    )


def task_spec_to_proto(job: TaskSpec, *, env: bool = True) -> pb.TaskSpec:
    """Converts all fields; `env` whether with the environment."""
    container = job.container
    return pb.TaskSpec(
        command=job.command,
        image=container.image,
        cpus=container.cpus,
        memory_bytes=container.memory_bytes,
        env=container.env if env else {},
        gpus=container.gpus,
        gpu_ids=container.gpu_ids,
        runner_filter=container.runner_filter,
        placement=PLACEMENT.to_proto(container.placement),
        timeout=duration_to_proto(job.timeout) if job.timeout else None,
        retries=job.retries,
    )


def task_spec_from_proto(message: pb.TaskSpec) -> TaskSpec:
    """Parses a spec. Raises InvalidInput with all violations."""
    checks, container, placement = Checks(), SessionSpec(), Placement.DEFAULT
    with checks.nested():
        placement = PLACEMENT.from_proto(message.placement, "placement", unspecified=Placement.DEFAULT)
    with checks.nested():
        container = SessionSpec(
            image=message.image,
            cpus=message.cpus or DEFAULT_CPUS,
            memory_bytes=message.memory_bytes,
            env=dict(message.env),
            gpus=message.gpus,
            gpu_ids=tuple(message.gpu_ids),
            runner_filter=message.runner_filter,
            placement=placement,
        )
    job = None
    with checks.nested():
        timeout = duration_from_proto(message.timeout) if message.HasField("timeout") else 0.0
        job = TaskSpec(tuple(message.command), container, timeout, message.retries)
    checks.done()
    assert job is not None  # noqa: S101 — else `done` has raised
    return job
