"""Requests for reserved addresses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.duration_pb2 import Duration

from netvps.api.v1 import network_pb2 as pb
from netvps.domain.scheduling.address import AddressReservation
from netvps.domain.uid import make_uid
from netvps.errors import InvalidInput
from netvps.rpc.convert.scheduling.addresses import reservation_from_proto, reservation_to_proto, reserve_from_proto

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("runner", "seconds", "fields"),
    [
        ("", 0, {"runner", "ttl"}),
        ("runners/box1", 59, {"ttl"}),
        ("runners/box1", 1801, {"ttl"}),
        ("box1", 60, {"runner"}),
    ],
)
def test_what_is_wrong_is_named(runner: str, seconds: int, fields: set[str]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        reserve_from_proto(pb.ReserveAddressRequest(runner=runner, ttl=Duration(seconds=seconds)))
    assert {one.field for one in refusal.value.violations} == fields


def test_a_reservation_is_read_as_it_was_written() -> None:
    kept = AddressReservation(make_uid(1, 2), "10.128.0.7", "", "", "box1", NOW)
    assert reservation_from_proto(reservation_to_proto(kept)) == kept
