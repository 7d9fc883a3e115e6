"""Snapshots, their images, and restores."""

from __future__ import annotations

from netvps.api.v1 import session_change_pb2 as change_pb
from netvps.api.v1 import session_pb2 as pb
from netvps.api.v1 import snapshot_pb2
from netvps.domain.session.event import SnapshotEvent
from netvps.domain.session.session import SnapshotImage
from netvps.domain.snapshot.snapshot import (
    Holder,
    Restore,
    RestoreState,
    Snapshot,
    SnapshotCause,
    SnapshotChange,
    SnapshotState,
)
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.session.event_types import EVENT_TYPE
from netvps.rpc.convert.texts import word
from netvps.rpc.convert.times import optional_time_from_proto, time_from_proto, time_to_proto

SNAPSHOT_STATE = EnumPair(SnapshotState, snapshot_pb2.SnapshotState, "SNAPSHOT_STATE_")
SNAPSHOT_CAUSE = EnumPair(SnapshotCause, snapshot_pb2.SnapshotCause, "SNAPSHOT_CAUSE_")
RESTORE_STATE = EnumPair(RestoreState, change_pb.RestoreState, "RESTORE_STATE_")


def snapshot_to_proto(snapshot: Snapshot) -> snapshot_pb2.SessionSnapshot:
    """Converts a snapshot. The API refers to runners by name; their uids are internal."""
    holders = [names.runner_name(holder.name) for holder in snapshot.holders]
    return snapshot_pb2.SessionSnapshot(
        uid=snapshot.uid,
        session_uid=snapshot.session,
        image_digest=snapshot.digest,
        size_bytes=snapshot.size_bytes,
        create_time=time_to_proto(snapshot.create_time),
        name=names.snapshot_name(snapshot.full_name),
        state=SNAPSHOT_STATE.to_proto(snapshot.state),
        reason=snapshot.reason,
        message=snapshot.message,
        description=snapshot.description,
        labels=dict(snapshot.labels),
        pinned=snapshot.pinned,
        cause=SNAPSHOT_CAUSE.to_proto(snapshot.cause),
        holders=holders,
        damaged_holders=[names.runner_name(holder.name) for holder in snapshot.holders if holder.damaged],
        leaving_holders=[names.runner_name(holder.name) for holder in snapshot.holders if holder.leaving],
        copies=snapshot.copies,
        warnings=snapshot.warnings,
        ready_time=time_to_proto(snapshot.ready_time) if snapshot.ready_time else None,
        update_time=time_to_proto(snapshot.update_time),
        revision=snapshot.revision,
    )


def snapshot_from_proto(message: snapshot_pb2.SessionSnapshot) -> Snapshot:
    """Parses a snapshot as a client sees it: its holders have names, but no uids. Raises InvalidInput."""
    session, snapshot_id = names.parse_snapshot_name(message.name)
    name, _, owner = session.partition(".")
    return Snapshot(
        uid=message.uid,
        session=message.session_uid,
        session_name=name,
        owner=owner,
        id=snapshot_id,
        cause=SNAPSHOT_CAUSE.from_proto(message.cause, "cause"),
        create_time=time_from_proto(message, "create_time"),
        update_time=time_from_proto(message, "update_time"),
        state=SNAPSHOT_STATE.from_proto(message.state, "state"),
        reason=message.reason,
        message=message.message,
        description=message.description,
        labels=dict(message.labels),
        pinned=message.pinned,
        size_bytes=message.size_bytes,
        digest=message.image_digest,
        holders=tuple(
            Holder(
                "",
                names.parse_runner_name(holder, "holders"),
                damaged=holder in message.damaged_holders,
                leaving=holder in message.leaving_holders,
            )
            for holder in message.holders
        ),
        copies=message.copies or 1,
        warnings=tuple(message.warnings),
        ready_time=optional_time_from_proto(message, "ready_time"),
        revision=message.revision,
    )


def change_to_proto(name: str, change: SnapshotChange) -> snapshot_pb2.UpdateSnapshotRequest:
    """The request for a change of the snapshot SESSION/ID."""
    request = snapshot_pb2.UpdateSnapshotRequest(
        snapshot=snapshot_pb2.SessionSnapshot(
            name=names.snapshot_name(name),
            description=change.description or "",
            labels=change.labels or {},
            pinned=change.pinned or False,
            copies=change.copies or 0,
        )
    )
    given = {
        "description": change.description,
        "labels": change.labels,
        "pinned": change.pinned,
        "copies": change.copies,
    }
    request.update_mask.paths.extend(field for field, value in given.items() if value is not None)
    return request


def snapshot_event_to_proto(event: SnapshotEvent) -> snapshot_pb2.WatchSnapshotsResponse:
    """Converts all fields."""
    return snapshot_pb2.WatchSnapshotsResponse(
        type=EVENT_TYPE.to_proto(event.type),
        snapshot=snapshot_to_proto(event.snapshot) if event.snapshot else None,
        revision=event.revision,
    )


def snapshot_event_from_proto(message: snapshot_pb2.WatchSnapshotsResponse) -> SnapshotEvent:
    """Parses an event. Raises InvalidInput."""
    return SnapshotEvent(
        type=EVENT_TYPE.from_proto(message.type, "type"),
        snapshot=snapshot_from_proto(message.snapshot) if message.HasField("snapshot") else None,
        revision=message.revision,
    )


def image_to_proto(snapshot: SnapshotImage) -> pb.Snapshot:
    """Converts all fields."""
    return pb.Snapshot(
        uid=snapshot.uid,
        session_uid=snapshot.session_uid,
        image=snapshot.image,
        digest=snapshot.digest,
        size_bytes=snapshot.size_bytes,
        layers=snapshot.layers,
        runner=names.runner_name(snapshot.runner),
        generation=snapshot.generation,
        create_time=time_to_proto(snapshot.create_time),
    )


def image_from_proto(message: pb.Snapshot) -> SnapshotImage:
    """Parses a snapshot. Raises InvalidInput."""
    return SnapshotImage(
        uid=word(message.uid, "uid"),
        session_uid=word(message.session_uid, "session_uid"),
        image=word(message.image, "image"),
        digest=word(message.digest, "digest"),
        size_bytes=message.size_bytes,
        layers=message.layers,
        runner=names.parse_runner_name(message.runner, "runner") if message.runner else "",
        generation=message.generation,
        create_time=time_from_proto(message, "create_time"),
    )


def restore_to_proto(restore: Restore) -> change_pb.SessionRestore:
    """Converts all fields."""
    return change_pb.SessionRestore(
        uid=restore.uid,
        snapshot_uid=restore.snapshot,
        previous_snapshot_uid=restore.previous,
        state=RESTORE_STATE.to_proto(restore.state),
        message=restore.message,
        create_time=time_to_proto(restore.create_time),
    )


def restore_from_proto(message: change_pb.SessionRestore) -> Restore:
    """Parses a restore. Raises InvalidInput."""
    return Restore(
        uid=word(message.uid, "uid"),
        snapshot=word(message.snapshot_uid, "snapshot_uid"),
        previous=word(message.previous_snapshot_uid, "previous_snapshot_uid"),
        create_time=time_from_proto(message, "create_time"),
        state=RESTORE_STATE.from_proto(message.state, "state"),
        message=message.message,
    )
