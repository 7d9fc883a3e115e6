"""Invitations, and requests for an account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from netvps.api.v1 import registration_pb2 as pb
from netvps.domain.access.accounts import Role
from netvps.domain.access.invitations import DEFAULT_TTL, MAX_TTL, MIN_TTL, InvitationState, InvitationView, NewAccount
from netvps.domain.access.ssh_key import TITLE_MAX, PublicKey
from netvps.domain.checks import Checks, shown
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.times import duration_from_proto, time_from_proto, time_to_proto
from netvps.rpc.convert.users import ROLE, check_new_user_id

STATE = EnumPair(InvitationState, pb.InvitationState, "INVITATION_STATE_")


@dataclass(frozen=True, slots=True)
class CreateInvitation:
    """The invitation to issue."""

    role: Role
    ttl: timedelta
    note: str
    request_id: str


def create_from_proto(message: pb.CreateInvitationRequest) -> CreateInvitation:
    """Parses the request. Raises InvalidInput."""
    checks, role, ttl = Checks(), Role.USER, DEFAULT_TTL
    with checks.nested():
        role = ROLE.from_proto(message.role, "role", unspecified=Role.USER)
    if message.HasField("ttl"):
        seconds = duration_from_proto(message.ttl)
        in_range = MIN_TTL.total_seconds() <= seconds <= MAX_TTL.total_seconds()
        checks.require(in_range, "ttl", f"{seconds:g} s is not between one minute and 30 days")
        ttl = timedelta(seconds=seconds) if in_range else ttl
    checks.require(
        len(message.note) <= TITLE_MAX and message.note.isprintable(),
        "note",
        f"{shown(message.note)} is not up to {TITLE_MAX} printable characters",
    )
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return CreateInvitation(role, ttl, message.note, message.request_id)


def account_from_proto(message: pb.RegisterUserRequest) -> NewAccount:
    """Parses the request, apart from its token. Raises InvalidInput."""
    checks, key = Checks(), PublicKey("", "", "")
    check_new_user_id(checks, message.user_id)
    with checks.nested():
        key = PublicKey.parse(message.public_key)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return NewAccount(message.user_id, key, message.request_id)


def invitation_to_proto(invitation: InvitationView) -> pb.Invitation:
    """Converts all fields."""
    return pb.Invitation(
        name=names.invitation_name(invitation.kid),
        issuer=names.user_name(invitation.issuer),
        role=ROLE.to_proto(invitation.role),
        note=invitation.note,
        create_time=time_to_proto(invitation.create_time),
        expire_time=time_to_proto(invitation.expire_time),
        state=STATE.to_proto(invitation.state),
        user=names.user_name(invitation.redeemed_by) if invitation.redeemed_by else "",
    )


def invitation_from_proto(message: pb.Invitation) -> InvitationView:
    """Parses an invitation. Raises InvalidInput."""
    return InvitationView(
        kid=names.parse_invitation_name(message.name),
        issuer=names.parse_user_name(message.issuer, "issuer"),
        role=ROLE.from_proto(message.role, "role"),
        note=message.note,
        create_time=time_from_proto(message, "create_time"),
        expire_time=time_from_proto(message, "expire_time"),
        state=STATE.from_proto(message.state, "state"),
        redeemed_by=names.parse_user_name(message.user, "user") if message.user else "",
    )
