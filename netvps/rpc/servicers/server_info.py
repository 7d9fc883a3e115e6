"""ServerService: what a client needs before it trusts this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import server_pb2 as pb
from netvps.api.v1.server_pb2_grpc import ServerServiceServicer
from netvps.rpc.convert.server_info import server_info_to_proto

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.server import ServerInfo
    from netvps.rpc.server.context import Context


class ServerInfoServicer(ServerServiceServicer):
    """Calls `info` each time: ports are known only once everything listens, and the image may change."""

    def __init__(self, info: Callable[[], ServerInfo]) -> None:
        self._info = info

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, context: Context) -> pb.ServerInfo:
        return server_info_to_proto(self._info())
