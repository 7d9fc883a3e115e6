"""RunnerService: the machines that sessions run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import runner_pb2 as pb
from netvps.api.v1.runner_pb2_grpc import RunnerServiceServicer
from netvps.rpc.convert import names
from netvps.rpc.convert.runner.runners import runner_to_proto
from netvps.rpc.convert.times import time_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.runners.runners import Runners


class RunnerServicer(RunnerServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners

    async def GetRunner(self, request: pb.GetRunnerRequest, context: Context) -> pb.Runner:
        return runner_to_proto(await self._runners.get(identity.caller(), names.parse_runner_name(request.name)))

    async def ListRunners(self, request: pb.ListRunnersRequest, context: Context) -> pb.ListRunnersResponse:
        page = await self._runners.list(
            identity.caller(),
            page_size=request.page_size,
            page_token=request.page_token,
            matching=request.filter,
            order_by=request.order_by,
        )
        return pb.ListRunnersResponse(
            runners=[runner_to_proto(view) for view in page.items], next_page_token=page.next_page_token
        )

    async def LabelRunner(self, request: pb.LabelRunnerRequest, context: Context) -> pb.Runner:
        name, request_id = names.parse_runner_name(request.name), names.check_request_id(request.request_id)
        view = await self._runners.label(
            identity.caller(), name, dict(request.labels), frozenset(request.remove), request_id=request_id
        )
        return runner_to_proto(view)

    async def CreateJoinToken(self, request: pb.CreateJoinTokenRequest, context: Context) -> pb.CreateJoinTokenResponse:
        request_id = names.check_request_id(request.request_id)
        token, expire = await self._runners.create_join_token(identity.caller(), request_id)
        return pb.CreateJoinTokenResponse(join_token=token, expire_time=time_to_proto(expire))

    async def DeleteRunner(self, request: pb.DeleteRunnerRequest, context: Context) -> pb.DeleteRunnerResponse:
        name, request_id = names.parse_runner_name(request.name), names.check_request_id(request.request_id)
        await self._runners.remove(identity.caller(), name, force=request.force, request_id=request_id)
        return pb.DeleteRunnerResponse()
