"""MetricsService: what sessions and runners use now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import metrics_pb2 as pb
from netvps.api.v1.metrics_pb2_grpc import MetricsServiceServicer
from netvps.rpc.client.streams import closing
from netvps.rpc.convert.metrics import samples_to_proto, watch_from_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.rpc.server.context import Context
    from netvps.services.metrics import Metrics
    from netvps.services.ports import MetricsSource


class MetricsServicer(MetricsServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, metrics: Metrics, source: MetricsSource) -> None:
        self._metrics = metrics
        self._source = source

    async def WatchMetrics(
        self, request: pb.WatchMetricsRequest, context: Context
    ) -> AsyncIterator[pb.WatchMetricsResponse]:
        watch = self._metrics.watch(identity.caller(), *watch_from_proto(request), self._source)
        async with closing(watch) as samples:
            async for received in samples:
                yield samples_to_proto(received)
