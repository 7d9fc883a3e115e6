"""The end of a reservation. The rest is tested with the service, tests/services/scheduling/test_reservations.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from netvps.domain.scheduling.address import AddressReservation

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_it_ends_at_its_end() -> None:
    kept = AddressReservation("token", "10.128.0.7", "alice", "uid", "box1", NOW)
    assert kept.has_ended(NOW)
    assert not kept.has_ended(NOW - timedelta(microseconds=1))
