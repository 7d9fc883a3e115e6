"""TaskService: commands that run to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import task_pb2 as pb
from netvps.api.v1.task_pb2_grpc import TaskServiceServicer
from netvps.domain.session.exec import Stderr
from netvps.errors import NotFound, NotPermitted, Unavailable
from netvps.rpc.client.streams import closing
from netvps.rpc.convert import names
from netvps.rpc.convert.task.tasks import (
    create_from_proto,
    list_from_proto,
    parse_task_name,
    read_logs_from_proto,
    task_to_proto,
    wait_from_proto,
)
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.rpc.server.context import Context
    from netvps.services.ports import SessionLogs
    from netvps.services.tasks.tasks import Tasks


class TaskServicer(TaskServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, tasks: Tasks, logs: SessionLogs) -> None:
        self._tasks = tasks
        self._logs = logs

    async def CreateTasks(self, request: pb.CreateTasksRequest, context: Context) -> pb.CreateTasksResponse:
        asked = create_from_proto(request)
        made = await self._tasks.create(identity.caller(), asked.job, asked.count, asked.request_id)
        return pb.CreateTasksResponse(tasks=[task_to_proto(task, env=False) for task in made])

    async def GetTask(self, request: pb.GetTaskRequest, context: Context) -> pb.Task:
        return task_to_proto(await self._tasks.get(identity.caller(), parse_task_name(request.name)))

    async def ListTasks(self, request: pb.ListTasksRequest, context: Context) -> pb.ListTasksResponse:
        asked = list_from_proto(request)
        page = await self._tasks.list(
            identity.caller(),
            parent=asked.parent,
            array=asked.array,
            unfinished=asked.unfinished,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListTasksResponse(
            tasks=[task_to_proto(task, env=False) for task in page.items], next_page_token=page.next_page_token
        )

    async def CancelTasks(self, request: pb.CancelTasksRequest, context: Context) -> pb.CancelTasksResponse:
        name, request_id = parse_task_name(request.name), names.check_request_id(request.request_id)
        found = await self._tasks.cancel(identity.caller(), name, request_id)
        return pb.CancelTasksResponse(tasks=[task_to_proto(task, env=False) for task in found])

    async def WaitTasks(self, request: pb.WaitTasksRequest, context: Context) -> pb.WaitTasksResponse:
        asked = wait_from_proto(request)
        found, done = await self._tasks.wait(identity.caller(), asked.name, asked.seconds, started=asked.started)
        return pb.WaitTasksResponse(tasks=[task_to_proto(task, env=False) for task in found], done=done)

    async def ReadTaskLogs(
        self, request: pb.ReadTaskLogsRequest, context: Context
    ) -> AsyncIterator[pb.ReadTaskLogsResponse]:
        asked, caller = read_logs_from_proto(request), identity.caller()
        task = await self._tasks.get(caller, asked.task_id)
        if not caller.sees(task.owner):
            raise NotPermitted(f"the log of task {task.id} is for its owner {task.owner} and admins")
        if not task.runner and task.has_ended:
            raise NotFound(f"task {task.id} has no log: {task.message}")
        if not task.runner:
            raise Unavailable(f"task {task.id} has no log yet: {task.message or 'it waits for a runner'}")
        pieces = self._logs.read(task.runner, "", asked.tail_lines, asked.follow, user=caller.user, task_id=task.id)
        async with closing(pieces):
            async for piece in pieces:
                if isinstance(piece, Stderr):
                    yield pb.ReadTaskLogsResponse(stderr=piece.data)
                else:
                    yield pb.ReadTaskLogsResponse(stdout=piece)
