"""The state machine of a task, as pure functions from a task and an event to the next task.

    PENDING → PREPARING → RUNNING → SUCCEEDED | FAILED | CANCELLED | LOST

The last four are final. A task is placed in a new epoch, and a command runs at most once in an epoch. There is a next
epoch only after `lose`: its runner was removed, or says itself that the container is gone. A runner that is offline
is no reason, because the command probably still runs there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.domain.task.task import OPEN, Task, TaskCause, TaskReport, TaskState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.runner.runner import Runner
    from netvps.domain.task.spec import TaskSpec

_ORDER: Final = {state: number for number, state in enumerate(OPEN)}


def new_tasks(uid: str, owner: str, job: TaskSpec, count: int, now: datetime) -> list[Task]:
    """A task, or the tasks of an array."""
    if count == 1:
        return [Task(uid, uid, owner, job, now)]
    return [Task(f"{uid}-{index}", uid, owner, job, now, index, count) for index in range(count)]


def place(task: Task, runner: Runner, gpus: tuple[str, ...]) -> Task:
    """The task on a runner, in a new epoch."""
    return replace(
        task,
        state=TaskState.PREPARING,
        runner=runner.uid,
        runner_name=runner.name,
        epoch=task.epoch + 1,
        gpus=gpus,
        message="",
    )


def wait(task: Task, message: str) -> Task:
    """The task with the reason why no runner has it yet; the same object if that is already set."""
    return task if task.message == message else replace(task, message=message)


def cancel(task: Task, now: datetime) -> Task:
    """The task, to be ended; one without a runner ends at once, and one that ended stays the same object."""
    if task.has_ended or task.cancelled:
        return task
    asked = replace(task, cancelled=True)
    return asked if task.runner else _ended(asked, TaskState.CANCELLED, now, "cancelled before it was started")


def observe(task: Task, report: TaskReport, now: datetime) -> Task:
    """The task after a report of its runner; the same object if the report is stale or says nothing new."""
    if report.epoch != task.epoch or task.has_ended or not task.runner or report.gone:
        return task
    if report.state is TaskState.LOST:
        return lose(task, now, report.message)
    if report.state in OPEN and _ORDER[report.state] < _ORDER[task.state]:
        return task
    seen = replace(
        task,
        state=report.state,
        cause=report.cause,
        exit_code=report.exit_code,
        message=report.message,
        start_time=report.start_time or task.start_time,
    )
    return (
        _ended(seen, report.state, report.end_time or now, report.message) if seen.has_ended else _or_same(task, seen)
    )


def lose(task: Task, now: datetime, message: str) -> Task:
    """The task after the loss of its runner: waiting for another one if it has retries left, else LOST."""
    if task.has_ended:
        return task
    if task.cancelled:
        return _ended(task, TaskState.CANCELLED, now, message)
    if task.losses >= task.job.retries:
        return replace(_ended(task, TaskState.LOST, now, message), cause=TaskCause.RUNNER_LOST)
    return replace(
        task,
        state=TaskState.PENDING,
        runner="",
        runner_name="",
        losses=task.losses + 1,
        start_time=None,
        gpus=(),
        message=message,
    )


def _ended(task: Task, state: TaskState, now: datetime, message: str) -> Task:
    return replace(task, state=state, end_time=now, message=message)


def _or_same(task: Task, seen: Task) -> Task:
    return task if seen == task else seen
