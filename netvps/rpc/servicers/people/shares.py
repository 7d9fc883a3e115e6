"""ShareService: sessions that other users may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import share_pb2 as pb
from netvps.api.v1.share_pb2_grpc import ShareServiceServicer
from netvps.rpc.convert import names
from netvps.rpc.convert.shares import share_to_proto, update_from_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.sharing.shares import Shares


class ShareServicer(ShareServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares

    async def ListShares(self, request: pb.ListSharesRequest, context: Context) -> pb.ListSharesResponse:
        user, session = names.parse_shares_parent(request.parent)
        page = await self._shares.list(
            identity.caller(),
            session=session,
            user=user,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListSharesResponse(shares=map(share_to_proto, page.items), next_page_token=page.next_page_token)

    async def UpdateShare(self, request: pb.UpdateShareRequest, context: Context) -> pb.Share:
        parsed = update_from_proto(request)
        share = await self._shares.put(
            identity.caller(),
            parsed.session,
            parsed.user,
            parsed.role,
            parsed.expire_time,
            request_id=parsed.request_id,
        )
        return share_to_proto(share)

    async def DeleteShare(self, request: pb.DeleteShareRequest, context: Context) -> pb.Share:
        session, user = names.parse_share_name(request.name)
        caller = identity.caller()
        who = caller.user if user == names.ME else user
        request_id = names.check_request_id(request.request_id)
        return share_to_proto(await self._shares.delete(caller, session, who, request_id))
