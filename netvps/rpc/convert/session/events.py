"""Events for watchers of sessions."""

from __future__ import annotations

from netvps.api.v1 import session_pb2 as pb
from netvps.domain.session.event import SessionEvent
from netvps.rpc.convert.session.event_types import EVENT_TYPE
from netvps.rpc.convert.session.sessions import listed_to_proto, session_from_proto


def event_to_proto(event: SessionEvent) -> pb.WatchSessionsResponse:
    """Converts all fields; the session without its environment and keys."""
    return pb.WatchSessionsResponse(
        type=EVENT_TYPE.to_proto(event.type),
        session=listed_to_proto(event.session) if event.session else None,
        revision=event.revision,
    )


def event_from_proto(message: pb.WatchSessionsResponse) -> SessionEvent:
    """Parses an event. Raises InvalidInput."""
    return SessionEvent(
        type=EVENT_TYPE.from_proto(message.type, "type"),
        session=session_from_proto(message.session) if message.HasField("session") else None,
        revision=message.revision,
    )
