"""Leases of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from netvps.api.v1 import lease_pb2 as pb
from netvps.domain.checks import Checks, shown
from netvps.domain.names import SessionName
from netvps.domain.scheduling.lease import HOLDER_MAX, MAX_TTL, MIN_TTL, NamedLease, SessionLease
from netvps.errors import InvalidInput
from netvps.rpc.convert import names
from netvps.rpc.convert.texts import sentence
from netvps.rpc.convert.times import duration_from_proto, time_from_proto, time_to_proto

_SUFFIX: Final = "/lease"


@dataclass(frozen=True, slots=True)
class AcquireLease:
    """The lease that is wanted: `session` is NAME or NAME.OWNER, `ttl` in seconds, `epoch` 0 for a new one."""

    session: str
    holder: str
    ttl: float
    epoch: int
    force: bool
    request_id: str


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """The lease to end."""

    session: str
    epoch: int
    force: bool
    request_id: str


def acquire_from_proto(message: pb.AcquireLeaseRequest) -> AcquireLease:
    """Parses the request. Raises InvalidInput."""
    checks, holder = Checks(), message.holder
    session = _checked(checks, message)
    checks.require(
        0 < len(holder) <= HOLDER_MAX and holder.isprintable(),
        "holder",
        f"{shown(holder)} is not 1 to {HOLDER_MAX} printable characters: give the name of your program",
    )
    ttl = duration_from_proto(message.ttl) if message.HasField("ttl") else 0.0
    checks.require(MIN_TTL <= ttl <= MAX_TTL, "ttl", f"{ttl:g} s are not between {MIN_TTL:g} s and {MAX_TTL:g} s")
    checks.require(not (message.epoch and message.force), "force", "a renewal forces nothing: leave epoch or force out")
    checks.done()
    return AcquireLease(session, holder, ttl, message.epoch, message.force, message.request_id)


def release_from_proto(message: pb.ReleaseLeaseRequest) -> ReleaseLease:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    session = _checked(checks, message)
    checks.require(bool(message.epoch) != message.force, "epoch", "give the epoch of the lease, or force")
    checks.done()
    return ReleaseLease(session, message.epoch, message.force, message.request_id)


def _checked(checks: Checks, message: pb.AcquireLeaseRequest | pb.ReleaseLeaseRequest) -> str:
    session = ""
    with checks.nested():
        session = names.parse_session_name(message.name)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.require(message.epoch >= 0, "epoch", f"{message.epoch} is not the epoch of a lease")
    return session


def lease_to_proto(named: NamedLease) -> pb.Lease:
    """Converts all fields."""
    lease = named.lease
    return pb.Lease(
        name=names.session_name(named.session) + _SUFFIX,
        holder=lease.holder,
        user=names.user_name(lease.user),
        epoch=lease.epoch,
        acquire_time=time_to_proto(lease.acquire_time),
        expire_time=time_to_proto(lease.expire_time),
    )


def lease_from_proto(message: pb.Lease) -> NamedLease:
    """Parses a lease as a client sees it: without the uid of the session. Raises InvalidInput."""
    if not message.name.endswith(_SUFFIX):
        raise InvalidInput.of("name", f"{shown(message.name)} is not of the form sessions/NAME.OWNER/lease")
    session = names.parse_session_name(message.name.removesuffix(_SUFFIX))
    user = names.parse_owner(message.user, "user")
    acquired, end = time_from_proto(message, "acquire_time"), time_from_proto(message, "expire_time")
    lease = SessionLease("", sentence(message.holder), user, message.epoch, acquired, end)
    return NamedLease(lease, str(SessionName.parse(session, "")))
