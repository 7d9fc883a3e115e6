"""Calls of RegistrationService and LoginService; converters are imported on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.api.v1 import login_pb2, registration_pb2
from netvps.rpc.client.calls.call import Pages, Unary, new_request_id, nothing
from netvps.rpc.convert import names

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.accounts import Role, User
    from netvps.domain.access.invitations import InvitationView
    from netvps.domain.access.oidc import LoginState, StartedLogin

_LOGIN_SECONDS: Final = 30.0
"""Of one call: the server asks the issuer."""


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


def start_login() -> Unary[StartedLogin]:
    """Asks for a code that the person confirms at the server's OIDC issuer; it needs no credential."""
    from netvps.rpc.convert.access.logins import started_from_proto

    return Unary(
        "LoginService/StartLogin",
        login_pb2.StartLoginRequest(),
        login_pb2.StartLoginResponse,
        started_from_proto,
        _LOGIN_SECONDS,
    )


def finish_login(token: str, public_key: str) -> Unary[tuple[User, str, datetime] | LoginState]:
    """The person's user, an API key and its end, once they confirmed the code; else how far the login is."""
    from netvps.rpc.convert.access.logins import finished_from_proto

    return Unary(
        "LoginService/FinishLogin",
        login_pb2.FinishLoginRequest(login_token=token, public_key=public_key),
        login_pb2.FinishLoginResponse,
        finished_from_proto,
        _LOGIN_SECONDS,
    )
