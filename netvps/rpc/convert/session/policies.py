"""What snapshots of a session leave out, and when they are taken; when a session sleeps."""

from __future__ import annotations

from netvps.api.v1 import session_change_pb2 as pb
from netvps.api.v1 import session_sleep_pb2 as sleep_pb
from netvps.domain.sleep.policy import SleepPolicy
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.rpc.convert.times import duration_from_proto, duration_to_proto


def policy_to_proto(policy: SnapshotPolicy) -> pb.SnapshotPolicy | None:
    """Converts all fields; None for a policy that says nothing."""
    if policy == SnapshotPolicy():
        return None
    return pb.SnapshotPolicy(
        excluded_paths=policy.excluded_paths,
        every=duration_to_proto(policy.every) if policy.every else None,
        daily_at=policy.daily_at,
        keep=policy.keep,
        max_age=duration_to_proto(policy.max_age) if policy.max_age else None,
        copies=policy.copies,
    )


def policy_from_proto(message: pb.SnapshotPolicy) -> SnapshotPolicy:
    """Parses a policy. Raises InvalidInput with all violations."""
    return SnapshotPolicy(
        tuple(message.excluded_paths),
        duration_from_proto(message.every),
        message.daily_at,
        message.keep,
        duration_from_proto(message.max_age),
        message.copies,
    )


def sleep_policy_to_proto(policy: SleepPolicy) -> sleep_pb.SleepPolicy | None:
    """Converts all fields; None for a policy that says nothing."""
    if policy == SleepPolicy():
        return None
    return sleep_pb.SleepPolicy(
        pause_after=None if policy.pause_after is None else duration_to_proto(policy.pause_after),
        stop_after=None if policy.stop_after is None else duration_to_proto(policy.stop_after),
        lifetime=duration_to_proto(policy.lifetime) if policy.lifetime else None,
        awake_hours=policy.awake_hours,
        cpu_floor=policy.cpu_floor,
    )


def sleep_policy_from_proto(message: sleep_pb.SleepPolicy) -> SleepPolicy:
    """Parses a policy. Raises InvalidInput with all violations."""
    return SleepPolicy(
        duration_from_proto(message.pause_after) if message.HasField("pause_after") else None,
        duration_from_proto(message.stop_after) if message.HasField("stop_after") else None,
        duration_from_proto(message.lifetime),
        message.awake_hours,
        message.cpu_floor,
    )
