"""Differences between states of a session's files."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.api.v1 import snapshot_files_pb2 as pb
from netvps.domain.checks import Checks
from netvps.domain.names import SNAPSHOT_ID_MAX, check_label
from netvps.domain.snapshot.diff import MAX_PATHS, ChangeKind, Count, Diff, DiffScope, FolderChange, PathChange
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair

CHANGE_KIND = EnumPair(ChangeKind, pb.PathChangeKind, "PATH_CHANGE_KIND_")


@dataclass(frozen=True, slots=True)
class DiffSession:
    """The session, NAME or NAME.OWNER; '' as `from_id` is the image, '' as `to_id` the present state."""

    session: str
    from_id: str
    to_id: str
    scope: DiffScope


def diff_request_from_proto(message: pb.DiffSessionRequest) -> DiffSession:
    """Parses the request. Raises InvalidInput with all violations."""
    checks = Checks()
    session, scope = "", DiffScope()
    with checks.nested():
        session = names.parse_session_name(message.name)
    for field, value in (("from_snapshot_id", message.from_snapshot_id), ("to_snapshot_id", message.to_snapshot_id)):
        with checks.nested():
            if value:
                check_label(value, field, SNAPSHOT_ID_MAX)
    with checks.nested():
        scope = DiffScope(message.max_paths, message.folder_depth)
    checks.done()
    return DiffSession(session, message.from_snapshot_id, message.to_snapshot_id, scope)


def diff_to_proto(diff: Diff) -> pb.DiffSessionResponse:
    """Converts all fields."""
    return pb.DiffSessionResponse(
        paths=[
            pb.PathChange(
                path=one.path, kind=CHANGE_KIND.to_proto(one.kind), size_bytes=one.size_bytes, excluded=one.excluded
            )
            for one in diff.paths
        ],
        folders=[pb.FolderChange(path=one.path, count=one.count, size_bytes=one.size_bytes) for one in diff.folders],
        added=_count_to_proto(diff.added),
        changed=_count_to_proto(diff.changed),
        removed=_count_to_proto(diff.removed),
        excluded=_count_to_proto(diff.excluded),
        incomplete=diff.incomplete,
    )


def diff_from_proto(message: pb.DiffSessionResponse) -> Diff:
    """Parses a difference. Raises InvalidInput."""
    return Diff(
        tuple(
            PathChange(one.path, CHANGE_KIND.from_proto(one.kind, "paths.kind"), max(one.size_bytes, 0), one.excluded)
            for one in message.paths[:MAX_PATHS]
        ),
        tuple(FolderChange(one.path, one.count, one.size_bytes) for one in message.folders[:MAX_PATHS]),
        _count_from_proto(message.added),
        _count_from_proto(message.changed),
        _count_from_proto(message.removed),
        _count_from_proto(message.excluded),
        message.incomplete,
    )


def _count_to_proto(count: Count) -> pb.ChangeCount:
    return pb.ChangeCount(count=count.count, size_bytes=count.size_bytes)


def _count_from_proto(message: pb.ChangeCount) -> Count:
    return Count(max(message.count, 0), max(message.size_bytes, 0))
