"""Shares of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.api.v1 import share_pb2 as pb
from netvps.domain.access.sharing import NamedShare, Share, ShareRole
from netvps.domain.checks import Checks
from netvps.domain.names import SessionName
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.times import optional_time_from_proto, time_from_proto, time_to_proto

if TYPE_CHECKING:
    from datetime import datetime

SHARE_ROLE = EnumPair(ShareRole, pb.ShareRole, "SHARE_ROLE_")


@dataclass(frozen=True, slots=True)
class UpdateShare:
    """The share that is wanted: `session` is NAME or NAME.OWNER."""

    session: str
    user: str
    role: ShareRole
    expire_time: datetime | None
    request_id: str


def update_from_proto(message: pb.UpdateShareRequest) -> UpdateShare:
    """Parses the request. Raises InvalidInput."""
    checks, session, user, role, end = Checks(), "", "", ShareRole.VIEW, None
    with checks.nested():
        session, user = names.parse_share_name(message.share.name, "share.name")
    with checks.nested("share"):
        role = SHARE_ROLE.from_proto(message.share.role, "role", unspecified=ShareRole.VIEW)
    with checks.nested("share"):
        end = optional_time_from_proto(message.share, "expire_time")
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return UpdateShare(session, user, role, end, message.request_id)


def share_to_proto(named: NamedShare) -> pb.Share:
    """Converts all fields."""
    share = named.share
    return pb.Share(
        name=names.share_name(str(named.session), share.user),
        role=SHARE_ROLE.to_proto(share.role),
        expire_time=time_to_proto(share.expire_time) if share.expire_time else None,
        create_time=time_to_proto(share.create_time),
        revision=share.revision,
    )


def share_from_proto(message: pb.Share) -> NamedShare:
    """Parses a share as a client sees it: without the uid of the session. Raises InvalidInput."""
    session, user = names.parse_share_name(message.name)
    full_name = SessionName.parse(session, "")
    role = SHARE_ROLE.from_proto(message.role, "role")
    created, end = time_from_proto(message, "create_time"), optional_time_from_proto(message, "expire_time")
    return NamedShare(Share("", full_name.owner, user, role, created, end, message.revision), full_name)
