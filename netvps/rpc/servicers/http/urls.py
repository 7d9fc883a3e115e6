"""UrlService: where ports of sessions are served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import url_pb2 as pb
from netvps.api.v1.url_pb2_grpc import UrlServiceServicer
from netvps.rpc.convert import names
from netvps.rpc.convert.http.urls import (
    parse_stored_url_name,
    parse_url_name,
    stored_url_to_proto,
    update_from_proto,
    url_to_proto,
)
from netvps.rpc.convert.times import optional_time_from_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.http.stored_urls import StoredUrls
    from netvps.services.http.urls import Urls


class UrlServicer(UrlServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, urls: Urls, stored: StoredUrls) -> None:
        self._urls, self._stored = urls, stored

    async def GetUrl(self, request: pb.GetUrlRequest, context: Context) -> pb.Url:
        session, port = parse_url_name(request.name)
        return url_to_proto(await self._urls.get(identity.caller(), session, port))

    async def CreateUrlLogin(self, request: pb.CreateUrlLoginRequest, context: Context) -> pb.UrlLogin:
        session, port = parse_url_name(request.name)
        return pb.UrlLogin(uri=await self._urls.log_in(identity.caller(), session, port))

    async def ListUrls(self, request: pb.ListUrlsRequest, context: Context) -> pb.ListUrlsResponse:
        user, session = names.parse_shares_parent(request.parent)
        page = await self._stored.list(
            identity.caller(),
            session=session,
            user=user,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListUrlsResponse(urls=map(stored_url_to_proto, page.items), next_page_token=page.next_page_token)

    async def UpdateUrl(self, request: pb.UpdateUrlRequest, context: Context) -> pb.Url:
        wanted = update_from_proto(request)
        named = await self._stored.put(
            identity.caller(),
            wanted.session,
            wanted.port,
            wanted.audience,
            name=wanted.name,
            users=wanted.users,
            expire_time=wanted.expire_time,
            request_id=wanted.request_id,
        )
        return stored_url_to_proto(named)

    async def DeleteUrl(self, request: pb.DeleteUrlRequest, context: Context) -> pb.Url:
        session, id_ = parse_stored_url_name(request.name)
        request_id = names.check_request_id(request.request_id)
        return stored_url_to_proto(await self._stored.delete(identity.caller(), session, id_, request_id))

    async def CreateUrlLink(self, request: pb.CreateUrlLinkRequest, context: Context) -> pb.UrlLink:
        session, port = parse_url_name(request.name)
        end = optional_time_from_proto(request, "expire_time")
        request_id = names.check_request_id(request.request_id)
        link, uri = await self._stored.create_link(identity.caller(), session, port, end, request_id)
        return pb.UrlLink(url=stored_url_to_proto(link), uri=uri)
