"""Requests for leases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from netvps.api.v1 import lease_pb2 as pb
from netvps.domain.scheduling.lease import NamedLease, SessionLease
from netvps.errors import InvalidInput
from netvps.rpc.convert.scheduling.leases import (
    acquire_from_proto,
    lease_from_proto,
    lease_to_proto,
    release_from_proto,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"name": "", "holder": "", "ttl": None}, {"name", "holder", "ttl"}),
        ({"ttl": Duration(seconds=9)}, {"ttl"}),
        ({"ttl": Duration(seconds=86401)}, {"ttl"}),
        ({"holder": "a\n"}, {"holder"}),
        ({"holder": "a" * 65}, {"holder"}),
        ({"epoch": -1}, {"epoch"}),
        ({"epoch": 1, "force": True}, {"force"}),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], fields: set[str]) -> None:
    right = {"name": "sessions/a", "holder": "queue", "ttl": Duration(seconds=10)}
    with pytest.raises(InvalidInput) as refusal:
        acquire_from_proto(pb.AcquireLeaseRequest(**(right | changes)))  # type: ignore[arg-type]
    assert {one.field for one in refusal.value.violations} == fields


@pytest.mark.parametrize("changes", [{}, {"epoch": 1, "force": True}])
def test_a_release_names_the_lease_or_forces(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="give the epoch of the lease, or force"):
        release_from_proto(pb.ReleaseLeaseRequest(name="sessions/a", **changes))  # type: ignore[arg-type]


def test_a_lease_is_read_as_it_was_written() -> None:
    lease = NamedLease(SessionLease("", "queue", "bob", 7, NOW, NOW + timedelta(minutes=1)), "job.alice")
    assert lease_from_proto(lease_to_proto(lease)) == lease
    with pytest.raises(InvalidInput, match="not of the form"):
        lease_from_proto(pb.Lease(name="sessions/a"))
