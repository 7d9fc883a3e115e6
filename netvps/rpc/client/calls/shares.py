"""Calls of ShareService. Sessions are named NAME or NAME.OWNER, users NAME or "me"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import share_pb2 as pb
from netvps.rpc.client.calls.call import Pages, Unary, new_request_id
from netvps.rpc.convert import names
from netvps.rpc.convert.shares import SHARE_ROLE, share_from_proto
from netvps.rpc.convert.times import time_to_proto

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.sharing import NamedShare, ShareRole


def list_shares(session: str = "") -> Pages[NamedShare]:
    """The users with whom a session is shared; without one, the sessions that are shared with the caller."""
    parent = names.session_name(session) if session else names.user_name(names.ME)
    return Pages(
        "ShareService/ListShares",
        pb.ListSharesRequest(parent=parent),
        pb.ListSharesResponse,
        lambda page: map(share_from_proto, page.shares),
    )


def share_session(session: str, user: str, role: ShareRole, expire_time: datetime | None = None) -> Unary[NamedShare]:
    """Shares a session with a user until a time, or without an end; changes an earlier share with them."""
    share = pb.Share(
        name=names.share_name(session, user),
        role=SHARE_ROLE.to_proto(role),
        expire_time=time_to_proto(expire_time) if expire_time else None,
    )
    request = pb.UpdateShareRequest(share=share, request_id=new_request_id())
    return Unary("ShareService/UpdateShare", request, pb.Share, share_from_proto)


def unshare_session(session: str, user: str) -> Unary[NamedShare]:
    """Ends a share."""
    request = pb.DeleteShareRequest(name=names.share_name(session, user), request_id=new_request_id())
    return Unary("ShareService/DeleteShare", request, pb.Share, share_from_proto)
