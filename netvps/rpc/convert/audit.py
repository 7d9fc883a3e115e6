"""Records of the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import audit_pb2 as pb
from netvps.domain.access.audit import AuditEvent, AuditQuery, AuditRecord
from netvps.rpc.convert.times import optional_time_from_proto, time_from_proto, time_to_proto

if TYPE_CHECKING:
    from netvps.api.v1.audit_pb2 import ListAuditRecordsRequest


def audit_record_to_proto(found: AuditRecord) -> pb.AuditRecord:
    """Converts all fields."""
    event = found.event
    return pb.AuditRecord(
        number=found.number,
        time=time_to_proto(found.time),
        actor=event.actor,
        origin=event.origin,
        action=event.action,
        target=event.target,
        outcome=event.outcome,
        details=[pb.AuditDetail(name=name, value=value) for name, value in event.details],
        previous=found.previous,
        digest=found.digest,
    )


def audit_record_from_proto(message: pb.AuditRecord) -> AuditRecord:
    """Parses a record. Raises InvalidInput."""
    details = tuple((detail.name, detail.value) for detail in message.details)
    event = AuditEvent(message.actor, message.origin, message.action, message.target, message.outcome, details)
    return AuditRecord(message.number, time_from_proto(message, "time"), event, message.previous, message.digest)


def audit_query_to_proto(query: AuditQuery) -> ListAuditRecordsRequest:
    """A request for all pages of a query."""
    return pb.ListAuditRecordsRequest(
        page_size=min(query.limit, 1000),
        newest_first=query.newest_first,
        actor=query.actor,
        target=query.target,
        action=query.action,
        since=None if query.since is None else time_to_proto(query.since),
        until=None if query.until is None else time_to_proto(query.until),
    )


def audit_query_from_proto(request: ListAuditRecordsRequest) -> AuditQuery:
    """Parses what to look for, without the page. Raises InvalidInput."""
    return AuditQuery(
        request.page_size,
        newest_first=request.newest_first,
        actor=request.actor,
        target=request.target,
        action=request.action,
        since=optional_time_from_proto(request, "since"),
        until=optional_time_from_proto(request, "until"),
    )
