"""Moves of sessions."""

from __future__ import annotations

from netvps.api.v1 import move_pb2 as pb
from netvps.domain.moves.move import MoveStage, MoveView
from netvps.domain.session.session import Session
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.times import time_from_proto, time_to_proto

MOVE_STAGE = EnumPair(MoveStage, pb.MoveStage, "MOVE_STAGE_")


def move_to_proto(session: Session) -> pb.SessionMove:
    """The latest move of a session that has one."""
    move = session.move
    assert move is not None  # noqa: S101 — checked by the caller
    return pb.SessionMove(
        session=names.session_name(str(session.full_name)),
        uid=move.uid,
        stage=MOVE_STAGE.to_proto(move.stage),
        origin=names.runner_name(move.origin_name),
        target=names.runner_name(move.target_name) if move.target_name else "",
        message=move.message,
        create_time=time_to_proto(move.create_time),
    )


def move_from_proto(message: pb.SessionMove) -> MoveView:
    """Parses a move. Raises InvalidInput."""
    return MoveView(
        session=names.parse_session_name(message.session, "session"),
        uid=message.uid,
        stage=MOVE_STAGE.from_proto(message.stage, "stage"),
        origin=names.parse_runner_name(message.origin, "origin"),
        target=names.parse_runner_name(message.target, "target") if message.target else "",
        message=message.message,
        create_time=time_from_proto(message, "create_time"),
    )
