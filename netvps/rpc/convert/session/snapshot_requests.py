"""Requests about snapshots as values; parsing reports all violations at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from netvps.api.v1 import snapshot_files_pb2 as files_pb
from netvps.api.v1 import snapshot_pb2 as pb
from netvps.domain.checks import Checks, shown
from netvps.domain.names import SESSION_NAME_MAX, check_label
from netvps.domain.pieces import MAX_PIECE
from netvps.domain.snapshot.snapshot import SnapshotChange, SnapshotDraft
from netvps.errors import InvalidInput
from netvps.rpc.convert import names

_CHANGEABLE: Final = ("description", "labels", "pinned", "copies")


@dataclass(frozen=True, slots=True)
class CreateSnapshot:
    """The session, NAME or NAME.OWNER, and the snapshot to take of it."""

    session: str
    draft: SnapshotDraft
    request_id: str


@dataclass(frozen=True, slots=True)
class ChangeSnapshot:
    """A snapshot to change, delete or restore; 0 means any revision."""

    session: str
    id: str
    request_id: str
    expected_revision: int
    change: SnapshotChange | None = None


@dataclass(frozen=True, slots=True)
class CloneSession:
    """The session to clone; '' as `snapshot` means its present state, '' as `session_id` lets the server choose."""

    source: str
    snapshot: str
    session_id: str
    request_id: str


def create_snapshot_from_proto(message: pb.CreateSnapshotRequest) -> CreateSnapshot:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    session, draft = "", SnapshotDraft()
    with checks.nested():
        session = names.parse_session_name(message.parent, "parent")
    with checks.nested():
        draft = SnapshotDraft(
            message.snapshot_id, message.description, dict(message.labels), message.pinned, message.copies
        )
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return CreateSnapshot(session, draft, message.request_id)


def update_snapshot_from_proto(message: pb.UpdateSnapshotRequest) -> ChangeSnapshot:
    """Parses the request. Raises InvalidInput."""
    checks, change = Checks(), None
    paths = [*message.update_mask.paths]
    for path in paths:
        checks.require(path in _CHANGEABLE, "update_mask", f"{shown(path)} is none of {', '.join(_CHANGEABLE)}")
    new = message.snapshot
    with checks.nested("snapshot"):
        session, snapshot = names.parse_snapshot_name(new.name)
    with checks.nested():
        change = SnapshotChange(
            description=new.description if "description" in paths else None,
            labels=dict(new.labels) if "labels" in paths else None,
            pinned=new.pinned if "pinned" in paths else None,
            copies=(new.copies or 1) if "copies" in paths else None,
        )
    _check(checks, message.request_id, message.expected_revision, "expected_revision")
    checks.done()
    return ChangeSnapshot(session, snapshot, message.request_id, message.expected_revision, change)


def delete_snapshot_from_proto(message: pb.DeleteSnapshotRequest) -> ChangeSnapshot:
    """Parses the request. Raises InvalidInput."""
    return _change(message.name, message.request_id, message.expected_revision, "expected_revision")


def restore_snapshot_from_proto(message: pb.RestoreSnapshotRequest) -> ChangeSnapshot:
    """Parses the request; the revision is that of the session. Raises InvalidInput."""
    field = "expected_session_revision"
    return _change(message.name, message.request_id, message.expected_session_revision, field)


def clone_from_proto(message: pb.CloneSessionRequest) -> CloneSession:
    """Parses the request. Raises InvalidInput, also for a snapshot of another session."""
    checks = Checks()
    source, session, snapshot = "", "", ""
    with checks.nested():
        source = names.parse_session_name(message.name)
    with checks.nested():
        if message.snapshot:
            session, snapshot = names.parse_snapshot_name(message.snapshot, "snapshot")
    checks.require(
        not message.snapshot or session.partition(".")[0] == source.partition(".")[0],
        "snapshot",
        f"{shown(message.snapshot)} is not a snapshot of {shown(message.name)}",
    )
    with checks.nested():
        if message.session_id:
            check_label(message.session_id, "session_id", SESSION_NAME_MAX)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return CloneSession(source, snapshot, message.session_id, message.request_id)


def _change(name: str, request_id: str, revision: int, field: str) -> ChangeSnapshot:
    checks = Checks()
    session = snapshot = ""
    with checks.nested():
        session, snapshot = names.parse_snapshot_name(name)
    _check(checks, request_id, revision, field)
    checks.done()
    return ChangeSnapshot(session, snapshot, request_id, revision)


def _check(checks: Checks, request_id: str, revision: int, field: str) -> None:
    with checks.nested():
        names.check_request_id(request_id)
    checks.require(revision >= 0, field, f"{revision} is not a revision")


def import_from_proto(message: files_pb.ImportSnapshotRequest) -> CreateSnapshot:
    """Parses the first message of an import. Raises InvalidInput."""
    if message.WhichOneof("message") != "start":
        raise InvalidInput.of("start", "the first message of an import has to say what is imported")
    start = message.start
    checks = Checks()
    session, draft = "", SnapshotDraft()
    with checks.nested():
        session = names.parse_session_name(start.parent, "parent")
    with checks.nested():
        draft = SnapshotDraft(start.snapshot_id, start.description, dict(start.labels), start.pinned)
    checks.done()
    return CreateSnapshot(session, draft, "")


def archive_piece(message: files_pb.ImportSnapshotRequest | files_pb.BrowseSnapshotsRequest) -> bytes:
    """A piece of the archive, or of SFTP. Raises InvalidInput."""
    if message.WhichOneof("message") != "data" or len(message.data) > MAX_PIECE:
        raise InvalidInput.of("data", f"after the first message come pieces of up to {MAX_PIECE} bytes")
    return message.data
