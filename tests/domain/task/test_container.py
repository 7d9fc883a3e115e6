"""The container of a task, and how its end reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.session.blueprint import NOTHING, Extras
from netvps.domain.session.container import Container, Status
from netvps.domain.session.spec import SessionSpec
from netvps.domain.task.container import end_of, task_blueprint
from netvps.domain.task.spec import TaskSpec
from netvps.domain.task.task import TaskAction, TaskCause, TaskOrder, TaskState

NOW = datetime(2026, 1, 2, tzinfo=UTC)
JOB = TaskSpec(("make", "all"), SessionSpec(image="debian:12", cpus=2.0, env={"A": "1"}), timeout=60.0)
ORDER = TaskOrder("0000000000001-3", 2, TaskAction.RUN, "alice", JOB, index=3, count=4)
BOOTED = NOW - timedelta(days=9)
ENDED = Container("id", Status.EXITED, 1, started=NOW, ended=NOW + timedelta(seconds=5))
LATE = replace(ENDED, ended=NOW + timedelta(seconds=61))


def test_the_command_runs_as_the_image_says_with_its_place_in_the_array() -> None:
    plan = task_blueprint(ORDER, node="0000000000009", machine_memory=1 << 30, extra=NOTHING)
    assert (plan.name, plan.entrypoint, plan.user) == ("netvps-task-0000000000001-3", ("make", "all"), "")
    assert plan.env == (
        "A=1",
        "NETVPS_TASK_COUNT=4",
        "NETVPS_TASK_ID=0000000000001-3",
        "NETVPS_TASK_INDEX=3",
    )
    assert plan.labels["netvps.epoch"] == "2"


def test_no_task_gets_gpus_by_a_variable() -> None:
    job = replace(JOB, container=replace(JOB.container, env={"NVIDIA_VISIBLE_DEVICES": "all"}))
    plan = task_blueprint(replace(ORDER, job=job), node="n", machine_memory=0, extra=Extras(has_gpus=True))
    assert "NVIDIA_VISIBLE_DEVICES=void" in plan.env


@pytest.mark.parametrize(
    ("container", "action", "signalled", "state", "cause"),
    [
        (ENDED, TaskAction.RUN, False, TaskState.SUCCEEDED, TaskCause.NONE),
        (replace(ENDED, exit_code=3), TaskAction.RUN, False, TaskState.FAILED, TaskCause.EXIT_CODE),
        (replace(ENDED, exit_code=137), TaskAction.RUN, False, TaskState.FAILED, TaskCause.KILLED),
        (replace(ENDED, exit_code=137, oom_killed=True), TaskAction.RUN, False, TaskState.FAILED, TaskCause.OOM),
        (replace(ENDED, exit_code=137, ended_by_oom=True), TaskAction.RUN, False, TaskState.FAILED, TaskCause.OOM),
        (replace(ENDED, exit_code=1, oom_killed=True), TaskAction.RUN, False, TaskState.FAILED, TaskCause.EXIT_CODE),
        (ENDED, TaskAction.CANCEL, False, TaskState.SUCCEEDED, TaskCause.NONE),
        (ENDED, TaskAction.CANCEL, True, TaskState.CANCELLED, TaskCause.NONE),
        (replace(ENDED, exit_code=143), TaskAction.CANCEL, False, TaskState.CANCELLED, TaskCause.NONE),
        (replace(LATE, exit_code=143), TaskAction.RUN, False, TaskState.FAILED, TaskCause.TIMEOUT),
        (LATE, TaskAction.RUN, True, TaskState.FAILED, TaskCause.TIMEOUT),
        (LATE, TaskAction.RUN, False, TaskState.SUCCEEDED, TaskCause.NONE),
    ],
)
def test_each_end_has_its_cause(
    container: Container, action: TaskAction, *, signalled: bool, state: TaskState, cause: TaskCause
) -> None:
    report = end_of(replace(ORDER, action=action), container, signalled=signalled, booted=BOOTED)
    assert (report.state, report.cause, report.exit_code) == (state, cause, container.exit_code)
    assert (report.end_time, bool(report.message)) == (container.ended, state is not TaskState.SUCCEEDED)


def test_a_command_that_ran_when_its_machine_was_restarted_is_lost() -> None:
    ended = replace(ENDED, exit_code=255)
    report = end_of(ORDER, ended, signalled=False, booted=NOW + timedelta(seconds=2))
    assert (report.state, report.cause, report.exit_code) == (TaskState.LOST, TaskCause.RUNNER_LOST, None)
    before = end_of(ORDER, ended, signalled=False, booted=NOW + timedelta(seconds=6))
    assert (before.state, before.exit_code) == (TaskState.FAILED, 255)
