"""Calls of TaskService. A task is named by its id; the id of an array names all of its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import task_pb2 as pb
from netvps.rpc.client.calls.call import UNARY_SLACK, Pages, Stream, Unary, new_request_id
from netvps.rpc.convert import names
from netvps.rpc.convert.task.tasks import (
    MAX_WAIT,
    log_piece_from_proto,
    task_from_proto,
    task_name,
    task_spec_to_proto,
)
from netvps.rpc.convert.times import duration_to_proto

if TYPE_CHECKING:
    from netvps.domain.session.exec import Stderr, Stdout
    from netvps.domain.task.spec import TaskSpec
    from netvps.domain.task.task import Task


def create_tasks(job: TaskSpec, count: int = 1, *, request_id: str = "") -> Unary[list[Task]]:
    """Creates a task, or an array of `count`, which wait for runners. Raises InvalidInput, and Exhausted at a limit."""
    request = pb.CreateTasksRequest(
        spec=task_spec_to_proto(job), count=count, request_id=request_id or new_request_id()
    )
    return Unary("TaskService/CreateTasks", request, pb.CreateTasksResponse, _tasks)


def get_task(task_id: str) -> Unary[Task]:
    """One task. Raises NotFound."""
    return Unary("TaskService/GetTask", pb.GetTaskRequest(name=task_name(task_id)), pb.Task, task_from_proto)


def list_tasks(*, user: str = "", array: str = "", unfinished: bool = False, page_size: int = 0) -> Pages[Task]:
    """Tasks of a user, "-" for all that one may see, the oldest first; of an array or a task only; or unfinished."""
    request = pb.ListTasksRequest(
        parent=names.user_name(user) if user else "",
        array=task_name(array) if array else "",
        open=unfinished,
        page_size=page_size,
    )
    return Pages("TaskService/ListTasks", request, pb.ListTasksResponse, _tasks)


def cancel_tasks(task_id: str) -> Unary[list[Task]]:
    """Ends a task, or all of an array, and returns them; the end comes later. Raises NotFound."""
    request = pb.CancelTasksRequest(name=task_name(task_id), request_id=new_request_id())
    return Unary("TaskService/CancelTasks", request, pb.CancelTasksResponse, _tasks)


def wait_tasks(task_id: str, timeout: float = MAX_WAIT, *, started: bool = False) -> Unary[tuple[list[Task], bool]]:
    """A task, or all of an array, once they have ended or `started`, or after these seconds; and whether they have.

    The server takes at most 60 s: call it again. Raises NotFound.
    """
    request = pb.WaitTasksRequest(name=task_name(task_id), timeout=duration_to_proto(timeout), started=started)
    return Unary("TaskService/WaitTasks", request, pb.WaitTasksResponse, _waited, timeout + UNARY_SLACK)


def read_task_logs(task_id: str, tail_lines: int = 0, follow: bool = False) -> Stream[Stdout | Stderr]:
    """Yields what a command wrote: `tail_lines` before the end, or all that is kept. Raises NotFound, Unavailable."""
    request = pb.ReadTaskLogsRequest(name=task_name(task_id), tail_lines=tail_lines, follow=follow)
    return Stream("TaskService/ReadTaskLogs", request, pb.ReadTaskLogsResponse, log_piece_from_proto)


def _waited(answer: pb.WaitTasksResponse) -> tuple[list[Task], bool]:
    return [task_from_proto(task) for task in answer.tasks], answer.done


def _tasks(answer: pb.CreateTasksResponse | pb.ListTasksResponse | pb.CancelTasksResponse) -> list[Task]:
    return [task_from_proto(task) for task in answer.tasks]
