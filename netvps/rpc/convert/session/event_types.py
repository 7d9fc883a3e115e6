"""The types of events for watchers."""

from __future__ import annotations

from netvps.api.v1 import session_pb2 as pb
from netvps.domain.session.event import EventType
from netvps.rpc.convert.enums import EnumPair

EVENT_TYPE = EnumPair(EventType, pb.WatchEventType, "WATCH_EVENT_TYPE_")
