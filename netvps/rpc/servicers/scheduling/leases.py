"""LeaseService: which program may change a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import lease_pb2 as pb
from netvps.api.v1.lease_pb2_grpc import LeaseServiceServicer
from netvps.rpc.convert import names
from netvps.rpc.convert.scheduling.leases import acquire_from_proto, lease_to_proto, release_from_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.scheduling.leases import Leases


class LeaseServicer(LeaseServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    async def AcquireLease(self, request: pb.AcquireLeaseRequest, context: Context) -> pb.Lease:
        asked = acquire_from_proto(request)
        return lease_to_proto(
            await self._leases.acquire(
                identity.caller(),
                asked.session,
                asked.holder,
                asked.ttl,
                epoch=asked.epoch,
                force=asked.force,
                request_id=asked.request_id,
            )
        )

    async def ReleaseLease(self, request: pb.ReleaseLeaseRequest, context: Context) -> pb.Lease:
        asked = release_from_proto(request)
        return lease_to_proto(
            await self._leases.release(
                identity.caller(), asked.session, asked.epoch, force=asked.force, request_id=asked.request_id
            )
        )

    async def GetLease(self, request: pb.GetLeaseRequest, context: Context) -> pb.Lease:
        return lease_to_proto(await self._leases.get(identity.caller(), names.parse_session_name(request.name)))
