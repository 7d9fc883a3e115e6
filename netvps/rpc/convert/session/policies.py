"""What snapshots of a session leave out, and when they are taken."""

from __future__ import annotations

from netvps.api.v1 import session_change_pb2 as pb
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
