"""AuditService: the audit log, for admins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import audit_pb2 as pb
from netvps.api.v1.audit_pb2_grpc import AuditServiceServicer
from netvps.rpc.convert.audit import audit_query_from_proto, audit_record_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.access.audit import AuditLog


class AuditServicer(AuditServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        page = await self._audit.list_records(
            identity.caller(),
            audit_query_from_proto(request),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        records = map(audit_record_to_proto, page.items)
        return pb.ListAuditRecordsResponse(records=records, next_page_token=page.next_page_token)
