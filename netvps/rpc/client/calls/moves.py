"""Calls of MoveService. Sessions are named NAME or NAME.OWNER, runners NAME."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import move_pb2 as pb
from netvps.rpc.client.calls.call import Unary, new_request_id, nothing
from netvps.rpc.convert import names
from netvps.rpc.convert.session.moves import move_from_proto

if TYPE_CHECKING:
    from netvps.domain.moves.move import MoveView


def move_session(session: str, target: str = "", *, from_copy: bool = False, request_id: str = "") -> Unary[MoveView]:
    """Requests a move to the runner `target`, or to the best one; `from_copy`: from its newest copy."""
    request = pb.MoveSessionRequest(
        name=names.session_name(session),
        target=names.runner_name(target) if target else "",
        from_copy=from_copy,
        request_id=request_id or new_request_id(),
    )
    return Unary("MoveService/MoveSession", request, pb.SessionMove, move_from_proto)


def list_moves(session: str = "", *, runner: str = "") -> Unary[list[MoveView]]:
    """The latest move of a session; or those of the sessions on a runner."""
    parent = names.session_name(session) if session else names.runner_name(runner)
    request = pb.ListMovesRequest(parent=parent)
    return Unary("MoveService/ListMoves", request, pb.ListMovesResponse, _moves)


def drain_runner(name: str) -> Unary[list[MoveView]]:
    """Requests that all sessions leave a runner; returns their moves."""
    request = pb.DrainRunnerRequest(name=names.runner_name(name), request_id=new_request_id())
    return Unary("MoveService/DrainRunner", request, pb.DrainRunnerResponse, _moves)


def cordon_runner(name: str) -> Unary[None]:
    """Keeps new sessions away from a runner; those that it has stay."""
    request = pb.CordonRunnerRequest(name=names.runner_name(name), request_id=new_request_id())
    return Unary("MoveService/CordonRunner", request, pb.CordonRunnerResponse, nothing)


def uncordon_runner(name: str) -> Unary[None]:
    """Lets the scheduler use a cordoned or drained runner again."""
    request = pb.UncordonRunnerRequest(name=names.runner_name(name), request_id=new_request_id())
    return Unary("MoveService/UncordonRunner", request, pb.UncordonRunnerResponse, nothing)


def _moves(answer: pb.ListMovesResponse | pb.DrainRunnerResponse) -> list[MoveView]:
    return [move_from_proto(move) for move in answer.moves]
