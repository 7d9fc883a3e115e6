"""MoveService: sessions on their way from runner to runner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.api.v1 import move_pb2 as pb
from netvps.api.v1.move_pb2_grpc import MoveServiceServicer
from netvps.domain.checks import Checks
from netvps.rpc.convert import names
from netvps.rpc.convert.session.moves import move_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.moves.moves import Moves

_RUNNERS: Final = "runners/"


class MoveServicer(MoveServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, moves: Moves) -> None:
        self._moves = moves

    async def MoveSession(self, request: pb.MoveSessionRequest, context: Context) -> pb.SessionMove:
        checks = Checks()
        session = target = request_id = ""
        with checks.nested():
            session = names.parse_session_name(request.name)
        with checks.nested():
            target = names.parse_runner_name(request.target, "target") if request.target else ""
        with checks.nested():
            request_id = names.check_request_id(request.request_id)
        checks.done()
        moved = await self._moves.move(
            identity.caller(), session, target=target, from_copy=request.from_copy, request_id=request_id
        )
        return move_to_proto(moved)

    async def ListMoves(self, request: pb.ListMovesRequest, context: Context) -> pb.ListMovesResponse:
        if request.parent.startswith(_RUNNERS):
            found = await self._moves.latest(
                identity.caller(), runner=names.parse_runner_name(request.parent, "parent")
            )
        else:
            session = names.parse_session_name(request.parent, "parent")
            found = await self._moves.latest(identity.caller(), session=session)
        return pb.ListMovesResponse(moves=map(move_to_proto, found))

    async def DrainRunner(self, request: pb.DrainRunnerRequest, context: Context) -> pb.DrainRunnerResponse:
        name, request_id = names.parse_runner_name(request.name), names.check_request_id(request.request_id)
        found = await self._moves.drain(identity.caller(), name, request_id)
        return pb.DrainRunnerResponse(moves=map(move_to_proto, found))

    async def CordonRunner(self, request: pb.CordonRunnerRequest, context: Context) -> pb.CordonRunnerResponse:
        name, request_id = names.parse_runner_name(request.name), names.check_request_id(request.request_id)
        await self._moves.cordon(identity.caller(), name, request_id)
        return pb.CordonRunnerResponse()

    async def UncordonRunner(self, request: pb.UncordonRunnerRequest, context: Context) -> pb.UncordonRunnerResponse:
        name, request_id = names.parse_runner_name(request.name), names.check_request_id(request.request_id)
        await self._moves.uncordon(identity.caller(), name, request_id)
        return pb.UncordonRunnerResponse()
