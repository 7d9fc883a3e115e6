"""Calls of LeaseService. Sessions are named NAME or NAME.OWNER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import lease_pb2 as pb
from netvps.rpc.client.calls.call import Unary, new_request_id
from netvps.rpc.convert import names
from netvps.rpc.convert.scheduling.leases import lease_from_proto
from netvps.rpc.convert.times import duration_to_proto

if TYPE_CHECKING:
    from netvps.domain.scheduling.lease import NamedLease


def acquire_lease(
    name: str, holder: str, ttl: float, *, epoch: int = 0, force: bool = False, request_id: str = ""
) -> Unary[NamedLease]:
    """Leases a session for `ttl` seconds, or renews the lease with that epoch; `force` takes it from another holder.

    Give its epoch to `with_lease` of the client for the calls that change the session. Raises WrongState while another
    holder has it (SESSION_LEASED), and for an epoch that is not that of its lease any more (LEASE_LOST).
    """
    request = pb.AcquireLeaseRequest(
        name=names.session_name(name),
        holder=holder,
        ttl=duration_to_proto(ttl),
        epoch=epoch,
        force=force,
        request_id=request_id or new_request_id(),
    )
    return Unary("LeaseService/AcquireLease", request, pb.Lease, lease_from_proto)


def release_lease(name: str, epoch: int = 0, *, force: bool = False) -> Unary[NamedLease]:
    """Ends the lease with that epoch, or, with `force`, any."""
    request = pb.ReleaseLeaseRequest(
        name=names.session_name(name), epoch=epoch, force=force, request_id=new_request_id()
    )
    return Unary("LeaseService/ReleaseLease", request, pb.Lease, lease_from_proto)


def get_lease(name: str) -> Unary[NamedLease]:
    """The lease of a session. Raises NotFound if it is not leased."""
    return Unary("LeaseService/GetLease", pb.GetLeaseRequest(name=names.session_name(name)), pb.Lease, lease_from_proto)
