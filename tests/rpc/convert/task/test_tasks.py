"""Tasks, and their orders and reports (netvps.rpc.convert.task.orders)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from netvps.api.v1 import task_pb2 as pb
from netvps.domain.session.spec import Placement, SessionSpec
from netvps.domain.task.spec import TaskSpec
from netvps.domain.task.task import Task, TaskAction, TaskCause, TaskOrder, TaskReport, TaskState
from netvps.errors import InvalidInput
from netvps.rpc.convert.task.orders import (
    task_order_from_proto,
    task_order_to_proto,
    task_report_from_proto,
    task_report_to_proto,
)
from netvps.rpc.convert.task.tasks import create_from_proto, list_from_proto, task_from_proto, task_to_proto

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UID = "0000000000001"
SPEC = SessionSpec(
    image="debian:12", cpus=2.0, memory_bytes=1 << 30, env={"A": "1"}, gpus=1, runner_filter="labels.rack=3",
    placement=Placement.PACK,
)  # fmt: skip
JOB = TaskSpec(("make", "all"), SPEC, timeout=60.0, retries=2)


@pytest.mark.parametrize(
    "task",
    [
        Task(UID, UID, "alice", JOB, NOW),
        Task(
            f"{UID}-7", UID, "alice", JOB, NOW, 7, 8, TaskState.FAILED, TaskCause.OOM, 137, "so", "", "lab1", 3,
            start_time=NOW, end_time=NOW, cancelled=True, gpus=("GPU-0001",), revision=9,
        ),
    ],
)  # fmt: skip
def test_a_task_is_read_as_it_was_written(task: Task) -> None:
    assert task_from_proto(task_to_proto(task)) == task
    assert not task_to_proto(task, env=False).spec.env


def test_orders_and_reports_are_read_as_they_were_written() -> None:
    order = TaskOrder(UID, 2, TaskAction.RUN, "alice", JOB, ("GPU-0001",), 3, 4)
    for one in (order, TaskOrder(UID, 2, TaskAction.REMOVE)):
        assert task_order_from_proto(task_order_to_proto(one)) == one
    report = TaskReport(UID, 2, TaskState.FAILED, TaskCause.EXIT_CODE, 3, "so", NOW, NOW)
    for said in (report, TaskReport(UID, 2, TaskState.LOST, gone=True), TaskReport(UID, 2, TaskState.RUNNING)):
        assert task_report_from_proto(task_report_to_proto(said)) == said


def test_all_that_is_wrong_is_named_at_once() -> None:
    spec = pb.TaskSpec(cpus=0.001, retries=-1, env={"1": ""}, placement=9)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput) as refusal:
        create_from_proto(pb.CreateTasksRequest(spec=spec, count=100_000, request_id="\n"))
    assert {one.field for one in refusal.value.violations} == {
        "spec.cpus",
        "spec.command",
        "spec.retries",
        "spec.env['1']",
        "spec.placement",
        "count",
        "request_id",
    }
    with pytest.raises(InvalidInput, match="name the array, without its index"):
        list_from_proto(pb.ListTasksRequest(array=f"tasks/{UID}-1"))
