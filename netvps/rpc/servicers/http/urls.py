"""UrlService: where ports of sessions are served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import url_pb2 as pb
from netvps.api.v1.url_pb2_grpc import UrlServiceServicer
from netvps.rpc.convert.http.urls import parse_url_name, url_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.http.urls import Urls


class UrlServicer(UrlServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, urls: Urls) -> None:
        self._urls = urls

    async def GetUrl(self, request: pb.GetUrlRequest, context: Context) -> pb.Url:
        session, port = parse_url_name(request.name)
        return url_to_proto(await self._urls.get(identity.caller(), session, port))

    async def CreateUrlLogin(self, request: pb.CreateUrlLoginRequest, context: Context) -> pb.UrlLogin:
        session, port = parse_url_name(request.name)
        return pb.UrlLogin(uri=await self._urls.log_in(identity.caller(), session, port))
