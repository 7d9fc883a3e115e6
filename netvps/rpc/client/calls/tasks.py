"""Calls of TaskService. A task is named by its id; the id of an array names all of its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import task_pb2 as pb
from netvps.rpc.client.calls.call import Pages, Unary, new_request_id
from netvps.rpc.convert import names
from netvps.rpc.convert.task.tasks import task_from_proto, task_name, task_spec_to_proto

if TYPE_CHECKING:
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


def _tasks(answer: pb.CreateTasksResponse | pb.ListTasksResponse | pb.CancelTasksResponse) -> list[Task]:
    return [task_from_proto(task) for task in answer.tasks]
