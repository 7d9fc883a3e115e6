"""The runners of other servers (rpc.server.runners.runner_streams.RunnersElsewhere)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import grpc

from netvps.api.v1 import mesh_pb2 as pb
from netvps.domain.overlay.peer_health import ProbeRequest
from netvps.errors import Unavailable
from netvps.rpc.convert.metrics import metrics_report_from_proto, metrics_request_to_proto
from netvps.rpc.convert.runner.link import to_runner_to_proto
from netvps.rpc.convert.runner.probes import probe_report_from_proto, probe_request_to_proto
from netvps.rpc.server.runners.runner_streams import NOT_CONNECTED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.metrics import MetricsReport, MetricsRequest
    from netvps.domain.overlay.peer_health import Link
    from netvps.rpc.mesh.mesh import Mesh, Peer
    from netvps.rpc.server.runners.runner_streams import StreamRequest

_TIMEOUT: Final = 15.0
"""Seconds for a call that does not stay open; longer than a runner has to answer."""


class MeshRunners:
    """Asks the server that has the runner."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def has(self, runner_uid: str) -> bool:
        """As in the Protocol."""
        return await self._mesh.find(pb.FindConnectionRequest(runner_uid=runner_uid)) is not None

    async def push(self, runner_uid: str, request: StreamRequest) -> None:
        """As in the Protocol."""
        message = pb.PushToRunnerRequest(runner_uid=runner_uid, request=to_runner_to_proto(request))
        async with self._at(runner_uid) as peer:
            await peer.stub.PushToRunner(message, timeout=_TIMEOUT, metadata=peer.metadata)

    async def probe(self, runner_uid: str, peers: tuple[str, ...]) -> tuple[Link, ...]:
        """As in the Protocol."""
        request = probe_request_to_proto(ProbeRequest("", peers))
        message = pb.ProbeFromRunnerRequest(runner_uid=runner_uid, request=request)
        async with self._at(runner_uid) as peer:
            answer = await peer.stub.ProbeFromRunner(message, timeout=_TIMEOUT, metadata=peer.metadata)
        return probe_report_from_proto(answer.report).links

    async def measure(self, runner_uid: str, request: MetricsRequest) -> AsyncIterator[MetricsReport]:
        """As in the Protocol."""
        message = pb.MeasureRunnerRequest(runner_uid=runner_uid, request=metrics_request_to_proto(request))
        async with self._at(runner_uid) as peer:
            call = peer.stub.MeasureRunner(message, metadata=peer.metadata)
            try:
                async for answer in call:
                    yield metrics_report_from_proto(answer.report)
            finally:
                call.cancel()

    @asynccontextmanager
    async def _at(self, runner_uid: str) -> AsyncIterator[Peer]:
        """The server that has a runner. Raises Unavailable, and the errors of the calls in the block."""
        peer = await self._mesh.find(pb.FindConnectionRequest(runner_uid=runner_uid))
        if peer is None:
            raise Unavailable(
                "the runner is connected to no server that this one reaches: try again when netvps runner ls shows it"
                " ONLINE",
                reason=NOT_CONNECTED,
            )
        try:
            yield peer
        except grpc.RpcError as failed:
            self._mesh.forget(runner_uid)
            raise peer.error(failed) from None
