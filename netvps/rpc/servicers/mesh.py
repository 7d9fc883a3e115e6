"""MeshService: what other servers of the database call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from netvps.api.v1 import mesh_pb2 as pb
from netvps.api.v1.mesh_pb2_grpc import MeshServiceServicer
from netvps.domain.image.copies import ImageRequest
from netvps.domain.metrics import MACHINE, MetricsReport
from netvps.domain.overlay.peer_health import ProbeReport
from netvps.domain.runner.runner import LogRequest
from netvps.domain.snapshot.copies import CopyRequest
from netvps.domain.snapshot.exchange import FilesRequest
from netvps.errors import InvalidInput, Unavailable
from netvps.rpc.client.streams import closing
from netvps.rpc.convert.metrics import metrics_report_to_proto, metrics_request_from_proto
from netvps.rpc.convert.runner.link import to_runner_from_proto
from netvps.rpc.convert.runner.probes import probe_report_to_proto, probe_request_from_proto
from netvps.rpc.convert.tunnel import frame_from_proto, frame_to_proto
from netvps.rpc.mesh.addressee import require_addressed_to
from netvps.rpc.mesh.dial_start import start_from_proto
from netvps.rpc.server import identity
from netvps.rpc.server.runners.runner_streams import NOT_CONNECTED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.tunnel import Frame
    from netvps.rpc.mesh.mesh import Mesh
    from netvps.rpc.mesh.passing import Passing
    from netvps.rpc.server.context import Context
    from netvps.rpc.server.ports import Tunnels
    from netvps.rpc.server.runners.probes import StreamedProbes
    from netvps.rpc.server.runners.runner_metrics import StreamedMetrics
    from netvps.rpc.server.runners.runner_streams import RunnerStreams

_SILENT: Final = 15.0
"""Seconds without a measurement after which a call ends: the runner may have left for another server."""


class MeshServicer(MeshServiceServicer):
    """Serves the calls for this server, and refuses those for another. What is not connected here is not sought."""

    def __init__(
        self,
        mesh: Mesh,
        passing: Passing,
        streams: RunnerStreams,
        probes: StreamedProbes,
        *,
        metrics: StreamedMetrics,
        tunnels: Tunnels,
    ) -> None:
        self._mesh, self._passing, self._streams = mesh, passing, streams
        self._probes, self._metrics, self._tunnels = probes, metrics, tunnels

    async def Nudge(self, request: pb.NudgeRequest, context: Context) -> pb.NudgeResponse:
        require_addressed_to(self._mesh.own.uid, context)
        self._mesh.nudged(identity.server().uid, request.revision)
        return pb.NudgeResponse()

    async def FindConnection(self, request: pb.FindConnectionRequest, context: Context) -> pb.FindConnectionResponse:
        require_addressed_to(self._mesh.own.uid, context)
        here = self._streams.has(request.runner_uid) or self._tunnels.has(request.session_uid)
        return pb.FindConnectionResponse(connected=here)

    async def PushToRunner(self, request: pb.PushToRunnerRequest, context: Context) -> pb.PushToRunnerResponse:
        require_addressed_to(self._mesh.own.uid, context)
        message = to_runner_from_proto(request.request)
        if not isinstance(message, LogRequest | FilesRequest | CopyRequest | ImageRequest):
            raise InvalidInput.of("request", "only requests for logs, files, copies and images are passed to runners")
        self._passing.expect(request.runner_uid, message.stream_id, identity.server().uid)
        self._streams.push_here(request.runner_uid, message)
        return pb.PushToRunnerResponse()

    async def ProbeFromRunner(self, request: pb.ProbeFromRunnerRequest, context: Context) -> pb.ProbeFromRunnerResponse:
        require_addressed_to(self._mesh.own.uid, context)
        links = await self._probes.probe_here(request.runner_uid, probe_request_from_proto(request.request).peers)
        return pb.ProbeFromRunnerResponse(report=probe_report_to_proto(ProbeReport("", links)))

    async def MeasureRunner(
        self, request: pb.MeasureRunnerRequest, context: Context
    ) -> AsyncIterator[pb.MeasureRunnerResponse]:
        require_addressed_to(self._mesh.own.uid, context)
        wanted = metrics_request_from_proto(request.request)
        uids = {*wanted.session_uids, *([MACHINE] if wanted.machine else [])}
        with self._metrics.open() as inbox:
            inbox.follow(frozenset((request.runner_uid, uid) for uid in uids))
            while True:
                if not self._streams.has(request.runner_uid):
                    raise Unavailable("the runner is not connected to this server", reason=NOT_CONNECTED)
                try:
                    async with asyncio.timeout(_SILENT):
                        received = await inbox.next()
                except TimeoutError:
                    return
                for each in received:
                    report = MetricsReport({each.target[1]: each.measured})
                    yield pb.MeasureRunnerResponse(report=metrics_report_to_proto(report))

    async def DialSession(
        self, request_iterator: AsyncIterator[pb.DialSessionRequest], context: Context
    ) -> AsyncIterator[pb.DialSessionResponse]:
        require_addressed_to(self._mesh.own.uid, context)
        session_uid, target, origin = start_from_proto(await anext(request_iterator, pb.DialSessionRequest()))
        frames = await self._tunnels.relay(session_uid, target, origin, _frames(request_iterator))
        async with closing(frames):
            yield pb.DialSessionResponse(opened=True)
            async for frame in frames:
                yield pb.DialSessionResponse(frame=frame_to_proto(frame))


async def _frames(messages: AsyncIterator[pb.DialSessionRequest]) -> AsyncIterator[Frame]:
    async for message in messages:
        yield frame_from_proto(message.frame)
