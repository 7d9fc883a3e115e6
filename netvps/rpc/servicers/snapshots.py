"""SnapshotService: each method parses the request, calls a service, and converts the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import session_pb2, snapshot_files_pb2
from netvps.api.v1 import snapshot_pb2 as pb
from netvps.api.v1.snapshot_pb2_grpc import SnapshotServiceServicer
from netvps.errors import InvalidInput
from netvps.rpc.client.streams import closing
from netvps.rpc.convert import names
from netvps.rpc.convert.session.diffs import diff_request_from_proto, diff_to_proto
from netvps.rpc.convert.session.sessions import session_to_proto
from netvps.rpc.convert.session.snapshot_requests import (
    archive_piece,
    clone_from_proto,
    create_snapshot_from_proto,
    delete_snapshot_from_proto,
    import_from_proto,
    restore_snapshot_from_proto,
    update_snapshot_from_proto,
)
from netvps.rpc.convert.session.snapshots import snapshot_event_to_proto, snapshot_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.rpc.server.context import Context
    from netvps.services.ports import FilesCarrier
    from netvps.services.sessions.watch import Watch
    from netvps.services.snapshots.clones import Clones
    from netvps.services.snapshots.files import SnapshotFiles
    from netvps.services.snapshots.snapshots import Snapshots


class SnapshotServicer(SnapshotServiceServicer):
    """Raises the errors of the services."""

    def __init__(
        self, snapshots: Snapshots, clones: Clones, watch: Watch, files: SnapshotFiles, carrier: FilesCarrier
    ) -> None:
        self._files = files
        self._carrier = carrier
        self._snapshots = snapshots
        self._clones = clones
        self._watch = watch

    async def CreateSnapshot(self, request: pb.CreateSnapshotRequest, context: Context) -> pb.SessionSnapshot:
        parsed = create_snapshot_from_proto(request)
        snapshot = await self._snapshots.create(
            identity.caller(), parsed.session, parsed.draft, request_id=parsed.request_id
        )
        return snapshot_to_proto(snapshot)

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: Context) -> pb.SessionSnapshot:
        session, snapshot = names.parse_snapshot_name(request.name)
        return snapshot_to_proto(await self._snapshots.get(identity.caller(), session, snapshot))

    async def ListSnapshots(self, request: pb.ListSnapshotsRequest, context: Context) -> pb.ListSnapshotsResponse:
        parent, session = names.parse_snapshots_parent(request.parent)
        page = await self._snapshots.list(
            identity.caller(),
            parent=parent,
            session=session,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListSnapshotsResponse(
            snapshots=map(snapshot_to_proto, page.items),
            next_page_token=page.next_page_token,
            revision=page.revision,
        )

    async def UpdateSnapshot(self, request: pb.UpdateSnapshotRequest, context: Context) -> pb.SessionSnapshot:
        parsed = update_snapshot_from_proto(request)
        assert parsed.change is not None  # noqa: S101 — parsed
        snapshot = await self._snapshots.update(
            identity.caller(),
            parsed.session,
            parsed.id,
            parsed.change,
            request_id=parsed.request_id,
            expected_revision=parsed.expected_revision,
        )
        return snapshot_to_proto(snapshot)

    async def DeleteSnapshot(self, request: pb.DeleteSnapshotRequest, context: Context) -> pb.SessionSnapshot:
        parsed = delete_snapshot_from_proto(request)
        snapshot = await self._snapshots.delete(
            identity.caller(),
            parsed.session,
            parsed.id,
            request_id=parsed.request_id,
            expected_revision=parsed.expected_revision,
        )
        return snapshot_to_proto(snapshot)

    async def RestoreSnapshot(self, request: pb.RestoreSnapshotRequest, context: Context) -> session_pb2.Session:
        parsed = restore_snapshot_from_proto(request)
        session = await self._snapshots.restore(
            identity.caller(),
            parsed.session,
            parsed.id,
            request_id=parsed.request_id,
            expected_revision=parsed.expected_revision,
        )
        return session_to_proto(session)

    async def CloneSession(self, request: pb.CloneSessionRequest, context: Context) -> session_pb2.Session:
        parsed = clone_from_proto(request)
        session = await self._clones.clone(
            identity.caller(),
            parsed.source,
            session_id=parsed.session_id,
            snapshot_id=parsed.snapshot,
            request_id=parsed.request_id,
        )
        return session_to_proto(session)

    async def WatchSnapshots(
        self, request: pb.WatchSnapshotsRequest, context: Context
    ) -> AsyncIterator[pb.WatchSnapshotsResponse]:
        parent, session = names.parse_snapshots_parent(request.parent)
        if request.from_revision < 0:
            raise InvalidInput.of("from_revision", f"{request.from_revision} is not a revision")
        events = self._watch.snapshots(identity.caller(), parent, session, request.from_revision)
        async with closing(events):
            async for event in events:
                yield snapshot_event_to_proto(event)

    async def ExportSnapshot(
        self, request: snapshot_files_pb2.ExportSnapshotRequest, context: Context
    ) -> AsyncIterator[snapshot_files_pb2.ExportSnapshotResponse]:
        session, snapshot = names.parse_snapshot_name(request.name)
        async with closing(self._files.export(identity.caller(), session, snapshot, self._carrier)) as pieces:
            async for piece in pieces:
                yield snapshot_files_pb2.ExportSnapshotResponse(data=piece)

    async def ImportSnapshot(
        self, request_iterator: AsyncIterator[snapshot_files_pb2.ImportSnapshotRequest], context: Context
    ) -> pb.SessionSnapshot:
        first = await anext(request_iterator, snapshot_files_pb2.ImportSnapshotRequest())
        parsed = import_from_proto(first)
        pieces = (archive_piece(message) async for message in request_iterator)
        snapshot = await self._files.take_in(
            identity.caller(), parsed.session, parsed.draft, pieces, self._carrier
        )  # fmt: skip
        return snapshot_to_proto(snapshot)

    async def BrowseSnapshots(
        self, request_iterator: AsyncIterator[snapshot_files_pb2.BrowseSnapshotsRequest], context: Context
    ) -> AsyncIterator[snapshot_files_pb2.BrowseSnapshotsResponse]:
        first = await anext(request_iterator, snapshot_files_pb2.BrowseSnapshotsRequest())
        if first.WhichOneof("message") != "parent":
            raise InvalidInput.of("parent", "the first message has to name the session")
        session = names.parse_session_name(first.parent, "parent")
        incoming = (archive_piece(message) async for message in request_iterator)
        async with self._files.browse(identity.caller(), session, incoming, self._carrier) as answers:
            async for answer in answers:
                yield snapshot_files_pb2.BrowseSnapshotsResponse(data=answer)

    async def DiffSession(
        self, request: snapshot_files_pb2.DiffSessionRequest, context: Context
    ) -> snapshot_files_pb2.DiffSessionResponse:
        parsed = diff_request_from_proto(request)
        diff = await self._files.diff(
            identity.caller(),
            parsed.session,
            self._carrier,
            from_id=parsed.from_id,
            to_id=parsed.to_id,
            scope=parsed.scope,
        )
        return diff_to_proto(diff)
