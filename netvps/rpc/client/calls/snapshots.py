"""Calls of SnapshotService. A snapshot is named by its session, NAME or NAME.OWNER, and its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.api.v1 import session_pb2
from netvps.api.v1 import snapshot_files_pb2 as files_pb
from netvps.api.v1 import snapshot_pb2 as pb
from netvps.domain.pieces import pieces
from netvps.rpc.client.calls.call import Pages, Stream, Unary, new_request_id
from netvps.rpc.convert import names
from netvps.rpc.convert.session.sessions import session_from_proto
from netvps.rpc.convert.session.snapshots import (
    change_to_proto,
    snapshot_event_from_proto,
    snapshot_from_proto,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.session.event import SnapshotEvent
    from netvps.domain.session.session import Session
    from netvps.domain.snapshot.diff import Diff
    from netvps.domain.snapshot.snapshot import Snapshot, SnapshotChange, SnapshotDraft


def create_snapshot(session: str, draft: SnapshotDraft, *, request_id: str = "") -> Unary[Snapshot]:
    """Requests a snapshot of a session, which is READY later."""
    request = pb.CreateSnapshotRequest(
        parent=names.session_name(session),
        snapshot_id=draft.id,
        description=draft.description,
        labels=dict(draft.labels),
        pinned=draft.pinned,
        copies=draft.copies,
        request_id=request_id or new_request_id(),
    )
    return Unary("SnapshotService/CreateSnapshot", request, pb.SessionSnapshot, snapshot_from_proto)


def get_snapshot(session: str, snapshot: str) -> Unary[Snapshot]:
    """One snapshot of a session."""
    request = pb.GetSnapshotRequest(name=_name(session, snapshot))
    return Unary("SnapshotService/GetSnapshot", request, pb.SessionSnapshot, snapshot_from_proto)


def list_snapshots(session: str = "", *, parent: str = "") -> Pages[Snapshot]:
    """Snapshots of a session; or, if that is '', of all sessions of `parent`, as in `list_sessions`."""
    request = pb.ListSnapshotsRequest(parent=_parent(session, parent))
    return Pages(
        "SnapshotService/ListSnapshots",
        request,
        pb.ListSnapshotsResponse,
        lambda page: map(snapshot_from_proto, page.snapshots),
    )


def update_snapshot(
    session: str, snapshot: str, change: SnapshotChange, *, expected_revision: int = 0, request_id: str = ""
) -> Unary[Snapshot]:
    """Changes description, labels, pin or the number of copies."""
    request = change_to_proto(f"{session}/{snapshot}", change)
    request.request_id, request.expected_revision = request_id or new_request_id(), expected_revision
    return Unary("SnapshotService/UpdateSnapshot", request, pb.SessionSnapshot, snapshot_from_proto)


def delete_snapshot(
    session: str, snapshot: str, *, expected_revision: int = 0, request_id: str = ""
) -> Unary[Snapshot]:
    """Requests the deletion of a snapshot."""
    request = pb.DeleteSnapshotRequest(
        name=_name(session, snapshot),
        request_id=request_id or new_request_id(),
        expected_revision=expected_revision,
    )
    return Unary("SnapshotService/DeleteSnapshot", request, pb.SessionSnapshot, snapshot_from_proto)


def restore_snapshot(
    session: str, snapshot: str, *, expected_revision: int = 0, request_id: str = ""
) -> Unary[Session]:
    """Requests that a session gets the files of a snapshot, in place; its field `restore` shows the progress.

    `expected_revision` is the session's.
    """
    request = pb.RestoreSnapshotRequest(
        name=_name(session, snapshot),
        request_id=request_id or new_request_id(),
        expected_session_revision=expected_revision,
    )
    return Unary("SnapshotService/RestoreSnapshot", request, session_pb2.Session, session_from_proto)


def clone_session(source: str, session_id: str = "", *, snapshot: str = "", request_id: str = "") -> Unary[Session]:
    """Makes a session of a snapshot of `source`, or of its present state; '' as id lets the server choose."""
    request = pb.CloneSessionRequest(
        name=names.session_name(source),
        snapshot=_name(source, snapshot) if snapshot else "",
        session_id=session_id,
        request_id=request_id or new_request_id(),
    )
    return Unary("SnapshotService/CloneSession", request, session_pb2.Session, session_from_proto)


def watch_snapshots(
    session: str = "", *, parent: str = "", from_revision: int = 0, timeout: float | None = None
) -> Stream[SnapshotEvent]:
    """Yields the list (or the changes since a revision), CAUGHT_UP, then changes until closed."""
    request = pb.WatchSnapshotsRequest(parent=_parent(session, parent), from_revision=from_revision)
    return Stream(
        "SnapshotService/WatchSnapshots", request, pb.WatchSnapshotsResponse, snapshot_event_from_proto, timeout
    )


def diff_session(
    session: str, *, from_id: str = "", to_id: str = "", max_paths: int = 0, folder_depth: int = 0
) -> Unary[Diff]:
    """What differs from one snapshot of a session ('': its image) to another ('': its present state)."""
    request = files_pb.DiffSessionRequest(
        name=names.session_name(session),
        from_snapshot_id=from_id,
        to_snapshot_id=to_id,
        max_paths=max_paths,
        folder_depth=folder_depth,
    )
    return Unary("SnapshotService/DiffSession", request, files_pb.DiffSessionResponse, _read_diff)


def export_snapshot(session: str, snapshot: str) -> Stream[bytes]:
    """Yields a snapshot as a portable archive, in pieces; what came before an error must not be used."""
    request = files_pb.ExportSnapshotRequest(name=_name(session, snapshot))
    return Stream(
        "SnapshotService/ExportSnapshot", request, files_pb.ExportSnapshotResponse, lambda piece: bytes(piece.data)
    )


IMPORT: Final = ("SnapshotService/ImportSnapshot", pb.SessionSnapshot)
"""Method and answer of an import."""


BROWSE: Final = ("SnapshotService/BrowseSnapshots", files_pb.BrowseSnapshotsResponse)
"""Method and answer of reading snapshots."""


def browse_start(session: str) -> files_pb.BrowseSnapshotsRequest:
    """The first message of reading the snapshots of a session."""
    return files_pb.BrowseSnapshotsRequest(parent=names.session_name(session))


def browse_piece(data: bytes) -> Iterator[files_pb.BrowseSnapshotsRequest]:
    """The messages for bytes of SFTP."""
    return (files_pb.BrowseSnapshotsRequest(data=piece) for piece in pieces(data))


def import_start(session: str, draft: SnapshotDraft) -> files_pb.ImportSnapshotRequest:
    """The first message of an import."""
    start = files_pb.ImportStart(
        parent=names.session_name(session),
        snapshot_id=draft.id,
        description=draft.description,
        labels=dict(draft.labels),
        pinned=draft.pinned,
    )
    return files_pb.ImportSnapshotRequest(start=start)


def import_piece(data: bytes) -> Iterator[files_pb.ImportSnapshotRequest]:
    """Messages for a piece of an archive."""
    return (files_pb.ImportSnapshotRequest(data=piece) for piece in pieces(data))


def _read_diff(message: files_pb.DiffSessionResponse) -> Diff:
    from netvps.rpc.convert.session.diffs import diff_from_proto

    return diff_from_proto(message)


def _name(session: str, snapshot: str) -> str:
    return names.snapshot_name(f"{session}/{snapshot}")


def _parent(session: str, parent: str) -> str:
    if session:
        return names.session_name(session)
    return names.user_name(parent) if parent else ""
