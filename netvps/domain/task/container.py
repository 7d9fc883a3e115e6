"""The container of a task: what it is made with, and how its end reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from netvps.domain.runner.docker_names import task_container_name, task_labels
from netvps.domain.session.attachment import Attachment, Net
from netvps.domain.session.blueprint import Blueprint, Extras, container_env
from netvps.domain.session.container import SIGKILL_EXIT, Container
from netvps.domain.session.limits import bytes_words
from netvps.domain.task.task import TaskAction, TaskCause, TaskOrder, TaskReport, TaskState

GRACE_SECONDS: Final = 10.0
"""Between SIGTERM and SIGKILL."""
SIGTERM_EXIT: Final = 143


@dataclass(frozen=True, slots=True)
class TaskContainer:
    """A task's container, as inspected."""

    container: Container
    epoch: int
    error: str = ""
    """Why the engine could not start it."""


def task_blueprint(order: TaskOrder, *, node: str, machine_memory: int, extra: Extras) -> Blueprint:
    """The container of an order with a spec. `node` is the runner's uid; `machine_memory` is in bytes."""
    job = order.job
    assert job is not None  # noqa: S101 — of orders that run
    spec = job.container
    own = {
        "NETVPS_TASK_ID": order.id,
        "NETVPS_TASK_INDEX": str(order.index),
        "NETVPS_TASK_COUNT": str(order.count),
    }
    env = {**container_env(spec.env, order.gpus, extra), **own}
    return Blueprint(
        session_uid=order.id,
        name=task_container_name(order.id),
        image=spec.image,
        hostname=order.id,
        labels=task_labels(order.id, node, order.epoch),
        env=tuple(f"{name}={value}" for name, value in sorted(env.items())),
        entrypoint=job.command,
        binds=extra.lxcfs,
        tmpfs=(),
        volumes=(),
        cpus=spec.cpus,
        memory_bytes=spec.memory_bytes,
        shm_bytes=(spec.memory_bytes or machine_memory) // 2,
        open_files=0,
        pids=spec.pids,
        attachment=Attachment(Net.ISOLATED, owner=order.owner),
        gpus=order.gpus,
        log_mib=2,
        user="",
        working_dir="",
    )


def end_of(order: TaskOrder, container: Container, *, signalled: bool, booted: datetime | None) -> TaskReport:
    """The report of a container that has ended; `signalled` if this runner is known to have ended it.

    After a restart it does not know that, and goes by the exit code. `booted` is when the machine last started; None
    if that is unknown.
    """
    code: int | None = container.exit_code
    limit = order.job.container.memory_bytes if order.job else 0
    timeout = order.job.timeout if order.job else 0.0
    ran = (container.ended - container.started).total_seconds() if container.ended and container.started else 0.0
    asked = signalled or code in {SIGKILL_EXIT, SIGTERM_EXIT}
    state, cause, message = TaskState.FAILED, TaskCause.EXIT_CODE, f"the command ended with exit code {code}"
    survived = booted and container.started and container.ended and container.started < booted <= container.ended
    if survived and not signalled:
        # The engine found it dead when it was started again, and made up its exit code.
        state, cause, code = TaskState.LOST, TaskCause.RUNNER_LOST, None
        message = "its machine was restarted while it ran"
    elif not signalled and (container.ended_by_oom or (container.oom_killed and code == SIGKILL_EXIT)):
        whose = f"its limit of {bytes_words(limit)}" if limit else "the machine has"
        cause, message = TaskCause.OOM, f"it used more memory than {whose}, and the kernel ended it: give it more"
    elif asked and order.action is TaskAction.CANCEL:
        state, cause, message = TaskState.CANCELLED, TaskCause.NONE, "it was cancelled"
    elif asked and timeout and ran >= timeout:
        cause, message = TaskCause.TIMEOUT, f"it ran for longer than its timeout of {timeout:g} s"
    elif code == 0:
        state, cause, message = TaskState.SUCCEEDED, TaskCause.NONE, ""
    elif code == SIGKILL_EXIT:
        cause, message = TaskCause.KILLED, "it was killed with SIGKILL, by another program than netvps"
    return TaskReport(order.id, order.epoch, state, cause, code, message, container.started, container.ended)
