"""Who may change a leased session. The rest is tested with the service, tests/services/scheduling/test_leases.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.scheduling.lease import LEASED, LOST, SessionLease, require_holder
from netvps.errors import WrongState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
END = NOW + timedelta(seconds=60)
LEASE = SessionLease("uid", "queue", "alice", 7, NOW, END)
ALICE = Caller("alice", Role.USER)


@pytest.mark.parametrize(
    ("lease", "carried", "now", "reason"),
    [
        (None, 0, NOW, None),
        (None, 7, NOW, LOST),
        (LEASE, 0, NOW, LEASED),
        (LEASE, 7, NOW, None),
        (LEASE, 6, NOW, LOST),
        (LEASE, 0, END, None),
        (LEASE, 7, END, LOST),
    ],
)
def test_the_present_lease_or_none(lease: SessionLease | None, carried: int, now: datetime, reason: str | None) -> None:
    caller = replace(ALICE, lease=carried)
    if reason is None:
        require_holder(caller, lease, "job.alice", now)
        return
    with pytest.raises(WrongState) as refusal:
        require_holder(caller, lease, "job.alice", now)
    assert refusal.value.reason == reason


def test_the_lease_of_a_call_does_not_make_another_caller_of_it() -> None:
    assert replace(ALICE, lease=7) == ALICE
