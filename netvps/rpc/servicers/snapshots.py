"""SnapshotService: each method parses the request, calls a service, and converts the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import session_pb2
from netvps.api.v1 import snapshot_pb2 as pb
from netvps.api.v1.snapshot_pb2_grpc import SnapshotServiceServicer
from netvps.errors import InvalidInput
from netvps.rpc.client.streams import closing
from netvps.rpc.convert import names
from netvps.rpc.convert.session.sessions import session_to_proto
from netvps.rpc.convert.session.snapshot_requests import (
    clone_from_proto,
    create_snapshot_from_proto,
    delete_snapshot_from_proto,
    restore_snapshot_from_proto,
    update_snapshot_from_proto,
)
from netvps.rpc.convert.session.snapshots import snapshot_event_to_proto, snapshot_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.rpc.server.context import Context
    from netvps.services.sessions.watch import Watch
    from netvps.services.snapshots.clones import Clones
    from netvps.services.snapshots.snapshots import Snapshots


class SnapshotServicer(SnapshotServiceServicer):
    """Raises the errors of the services."""

    def __init__(self, snapshots: Snapshots, clones: Clones, watch: Watch) -> None:
        self._snapshots = snapshots
        self._clones = clones
        self._watch = watch

    async def CreateSnapshot(self, request: pb.CreateSnapshotRequest, context: Context) -> pb.SessionSnapshot:
        wanted = create_snapshot_from_proto(request)
        snapshot = await self._snapshots.create(
            identity.caller(), wanted.session, wanted.draft, request_id=wanted.request_id
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
        wanted = update_snapshot_from_proto(request)
        assert wanted.change is not None  # noqa: S101 — parsed
        snapshot = await self._snapshots.update(
            identity.caller(),
            wanted.session,
            wanted.id,
            wanted.change,
            request_id=wanted.request_id,
            expected_revision=wanted.expected_revision,
        )
        return snapshot_to_proto(snapshot)

    async def DeleteSnapshot(self, request: pb.DeleteSnapshotRequest, context: Context) -> pb.SessionSnapshot:
        wanted = delete_snapshot_from_proto(request)
        snapshot = await self._snapshots.delete(
            identity.caller(),
            wanted.session,
            wanted.id,
            request_id=wanted.request_id,
            expected_revision=wanted.expected_revision,
        )
        return snapshot_to_proto(snapshot)

    async def RestoreSnapshot(self, request: pb.RestoreSnapshotRequest, context: Context) -> session_pb2.Session:
        wanted = restore_snapshot_from_proto(request)
        session = await self._snapshots.restore(
            identity.caller(),
            wanted.session,
            wanted.id,
            request_id=wanted.request_id,
            expected_revision=wanted.expected_revision,
        )
        return session_to_proto(session)

    async def CloneSession(self, request: pb.CloneSessionRequest, context: Context) -> session_pb2.Session:
        wanted = clone_from_proto(request)
        session = await self._clones.clone(
            identity.caller(),
            wanted.source,
            session_id=wanted.session_id,
            snapshot_id=wanted.snapshot,
            request_id=wanted.request_id,
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
