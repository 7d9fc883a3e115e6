"""Connections into sessions that one server opens through another."""

from __future__ import annotations

from netvps.api.v1 import mesh_pb2 as pb
from netvps.domain.tunnel import DialTarget, PortTarget, ResumableTarget, SshTarget, TcpTarget, UnixTarget
from netvps.errors import InvalidInput
from netvps.rpc.convert.tunnel import target_to_proto


def start_to_proto(session_uid: str, target: DialTarget, origin: str) -> pb.DialSessionRequest:
    """The first message."""
    start = pb.DialSessionStart(session_uid=session_uid, origin=origin)
    if isinstance(target, PortTarget):
        start.port, start.counted = target.port, target.counted
    else:
        start.target.CopyFrom(target_to_proto(target))
    return pb.DialSessionRequest(start=start)


def start_from_proto(message: pb.DialSessionRequest) -> tuple[str, DialTarget, str]:
    """Session, target and origin of the first message. Raises InvalidInput for any other message."""
    start = message.start
    if message.WhichOneof("message") != "start":
        raise InvalidInput.of("start", "the first message must be start")
    if start.port:
        return start.session_uid, PortTarget(start.port, counted=start.counted), start.origin
    target = start.target
    match target.WhichOneof("target"):
        case "ssh":
            return start.session_uid, SshTarget(), start.origin
        case "tcp":
            return start.session_uid, TcpTarget(target.tcp), start.origin
        case "unix":
            return start.session_uid, UnixTarget(target.unix), start.origin
        case "resumable":
            resumable = ResumableTarget(target.resumable.user, target.resumable.attachment)
            return start.session_uid, resumable, start.origin
    raise InvalidInput.of("start.target", "set a target or a port")
