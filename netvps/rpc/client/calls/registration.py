"""Calls of RegistrationService; converters are imported on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import registration_pb2
from netvps.rpc.client.calls.call import Pages, Unary, new_request_id, nothing
from netvps.rpc.convert import names

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Role, User
    from netvps.domain.access.invitations import InvitationView


def register_user(name: str, public_key: str, token: str = "") -> Unary[tuple[User, str]]:
    """Makes an account, and returns it with its API key; it needs no credential but the invitation's token."""
    from netvps.rpc.convert.users import user_from_proto

    request = registration_pb2.RegisterUserRequest(
        token=token, user_id=name, public_key=public_key, request_id=new_request_id()
    )
    return Unary(
        "RegistrationService/RegisterUser",
        request,
        registration_pb2.RegisterUserResponse,
        lambda answer: (user_from_proto(answer.user), str(answer.secret)),
    )


def create_invitation(role: Role, *, ttl: float | None = None, note: str = "") -> Unary[tuple[InvitationView, str]]:
    """Creates an invitation, valid for `ttl` seconds (by default 72 hours), and returns it with its token."""
    from netvps.rpc.convert.access.registration import invitation_from_proto
    from netvps.rpc.convert.users import ROLE

    request = registration_pb2.CreateInvitationRequest(role=ROLE.to_proto(role), note=note, request_id=new_request_id())
    if ttl is not None:
        request.ttl.FromSeconds(round(ttl))
    return Unary(
        "RegistrationService/CreateInvitation",
        request,
        registration_pb2.CreateInvitationResponse,
        lambda answer: (invitation_from_proto(answer.invitation), str(answer.token)),
    )


def list_invitations() -> Pages[InvitationView]:
    """The caller's invitations by kid; of an admin those of all."""
    from netvps.rpc.convert.access.registration import invitation_from_proto

    return Pages(
        "RegistrationService/ListInvitations",
        registration_pb2.ListInvitationsRequest(),
        registration_pb2.ListInvitationsResponse,
        lambda page: map(invitation_from_proto, page.invitations),
    )


def delete_invitation(kid: str) -> Unary[None]:
    """Revokes an invitation."""
    request = registration_pb2.DeleteInvitationRequest(name=names.invitation_name(kid), request_id=new_request_id())
    return Unary("RegistrationService/DeleteInvitation", request, registration_pb2.Invitation, nothing)
