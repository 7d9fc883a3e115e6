"""Orders and reports about tasks, between the control plane and a runner."""

from __future__ import annotations

from typing import Final

from netvps.api.v1 import link_task_pb2 as pb
from netvps.domain.names import check_task_id
from netvps.domain.task.task import TaskAction, TaskOrder, TaskReport
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.task.tasks import (
    TASK_CAUSE,
    TASK_STATE,
    task_spec_from_proto,
    task_spec_to_proto,
)
from netvps.rpc.convert.texts import sentence
from netvps.rpc.convert.times import optional_time_from_proto, time_to_proto

TASK_ACTION: Final = EnumPair(TaskAction, pb.TaskAction, "TASK_ACTION_")


def task_order_to_proto(order: TaskOrder) -> pb.TaskOrder:
    """Converts all fields."""
    return pb.TaskOrder(
        task_id=order.id,
        epoch=order.epoch,
        action=TASK_ACTION.to_proto(order.action),
        owner_id=order.owner,
        spec=task_spec_to_proto(order.job) if order.job else None,
        gpus=order.gpus,
        index=order.index,
        count=order.count,
    )


def task_order_from_proto(message: pb.TaskOrder) -> TaskOrder:
    """Parses an order. Raises InvalidInput."""
    return TaskOrder(
        check_task_id(message.task_id, "task_order.task_id"),
        message.epoch,
        TASK_ACTION.from_proto(message.action, "task_order.action"),
        message.owner_id,
        task_spec_from_proto(message.spec) if message.HasField("spec") else None,
        tuple(message.gpus),
        message.index,
        message.count,
    )


def task_report_to_proto(report: TaskReport) -> pb.TaskReport:
    """Converts all fields."""
    return pb.TaskReport(
        task_id=report.id,
        epoch=report.epoch,
        state=TASK_STATE.to_proto(report.state),
        cause=TASK_CAUSE.to_proto(report.cause),
        exit_code=report.exit_code,
        message=report.message,
        start_time=time_to_proto(report.start_time) if report.start_time else None,
        end_time=time_to_proto(report.end_time) if report.end_time else None,
        gone=report.gone,
    )


def task_report_from_proto(message: pb.TaskReport) -> TaskReport:
    """Parses a report. Raises InvalidInput."""
    return TaskReport(
        check_task_id(message.task_id, "task_report.task_id"),
        message.epoch,
        TASK_STATE.from_proto(message.state, "task_report.state"),
        TASK_CAUSE.from_proto(message.cause, "task_report.cause"),
        message.exit_code if message.HasField("exit_code") else None,
        sentence(message.message),
        optional_time_from_proto(message, "start_time"),
        optional_time_from_proto(message, "end_time"),
        message.gone,
    )
