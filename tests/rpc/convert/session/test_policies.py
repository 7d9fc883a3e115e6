"""Policies of snapshots and of sleep on the wire."""

from __future__ import annotations

import pytest

from netvps.api.v1 import session_change_pb2 as pb
from netvps.api.v1 import session_sleep_pb2 as sleep_pb
from netvps.domain.sleep.policy import SleepPolicy
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.errors import InvalidInput
from netvps.rpc.convert.session.policies import (
    policy_from_proto,
    policy_to_proto,
    sleep_policy_from_proto,
    sleep_policy_to_proto,
)


@pytest.mark.parametrize(
    "policy",
    [SnapshotPolicy(("/var/cache",), every=3600.0, keep=3, max_age=86_400.0), SnapshotPolicy(daily_at="03:00")],
)
def test_a_policy_survives_the_wire(policy: SnapshotPolicy) -> None:
    message = policy_to_proto(policy)
    assert message is not None
    assert policy_from_proto(message) == policy


def test_one_that_says_nothing_is_not_sent_and_a_bad_one_is_refused() -> None:
    assert policy_to_proto(SnapshotPolicy()) is None
    assert policy_from_proto(pb.SnapshotPolicy()) == SnapshotPolicy()
    with pytest.raises(InvalidInput, match="no time of the day"):
        policy_from_proto(pb.SnapshotPolicy(daily_at="3 am"))


@pytest.mark.parametrize(
    "policy",
    [SleepPolicy(0.0, 60.0), SleepPolicy(None, 0.0, 90.0, "mon-fri 08:00-18:00", 0.5), SleepPolicy(lifetime=60.0)],
)
def test_a_policy_of_sleep_survives_the_wire(policy: SleepPolicy) -> None:
    message = sleep_policy_to_proto(policy)
    assert message is not None
    assert sleep_policy_from_proto(sleep_pb.SleepPolicy.FromString(message.SerializeToString())) == policy


def test_one_of_sleep_that_says_nothing_is_not_sent_and_a_bad_one_is_refused() -> None:
    assert sleep_policy_to_proto(SleepPolicy()) is None
    assert sleep_policy_from_proto(sleep_pb.SleepPolicy()) == SleepPolicy()
    with pytest.raises(InvalidInput, match="awake_hours"):
        sleep_policy_from_proto(sleep_pb.SleepPolicy(awake_hours="late"))
