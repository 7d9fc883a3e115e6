"""Reservations of addresses."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.api.v1 import network_pb2 as pb
from netvps.domain.checks import Checks
from netvps.domain.scheduling.address import MAX_TTL, MIN_TTL, AddressReservation
from netvps.rpc.convert import names
from netvps.rpc.convert.texts import word
from netvps.rpc.convert.times import duration_from_proto, time_from_proto, time_to_proto


@dataclass(frozen=True, slots=True)
class ReserveAddress:
    """The runner, and for how many seconds."""

    runner: str
    ttl: float
    request_id: str


def reserve_from_proto(message: pb.ReserveAddressRequest) -> ReserveAddress:
    """Parses the request. Raises InvalidInput."""
    checks, runner = Checks(), ""
    with checks.nested():
        runner = names.parse_runner_name(message.runner, "runner")
    with checks.nested():
        names.check_request_id(message.request_id)
    ttl = duration_from_proto(message.ttl) if message.HasField("ttl") else 0.0
    checks.require(MIN_TTL <= ttl <= MAX_TTL, "ttl", f"{ttl:g} s are not between {MIN_TTL:g} s and {MAX_TTL:g} s")
    checks.done()
    return ReserveAddress(runner, ttl, message.request_id)


def reservation_to_proto(reservation: AddressReservation) -> pb.AddressReservation:
    """Converts all fields that the caller does not know."""
    return pb.AddressReservation(
        token=reservation.token,
        address=reservation.address,
        runner=names.runner_name(reservation.runner_name),
        expire_time=time_to_proto(reservation.expire_time),
    )


def reservation_from_proto(message: pb.AddressReservation) -> AddressReservation:
    """Parses a reservation as a client sees it: without user and uid of the runner. Raises InvalidInput."""
    token = names.check_uid(message.token, "token")
    runner, end = names.parse_runner_name(message.runner, "runner"), time_from_proto(message, "expire_time")
    return AddressReservation(token, word(message.address, "address"), "", "", runner, end)
