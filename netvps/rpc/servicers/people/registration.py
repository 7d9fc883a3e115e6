"""RegistrationService: invitations, and accounts that people make for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import registration_pb2 as pb
from netvps.api.v1.registration_pb2_grpc import RegistrationServiceServicer
from netvps.rpc.convert import names
from netvps.rpc.convert.access.registration import account_from_proto, create_from_proto, invitation_to_proto
from netvps.rpc.convert.users import user_to_proto
from netvps.rpc.server import identity
from netvps.rpc.server.open_calls import address_of

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.access.invitations import Invitations
    from netvps.services.access.registration import Registrations


class RegistrationServicer(RegistrationServiceServicer):
    """Raises the errors of the services."""

    def __init__(self, invitations: Invitations, registrations: Registrations) -> None:
        self._invitations = invitations
        self._registrations = registrations

    async def RegisterUser(self, request: pb.RegisterUserRequest, context: Context) -> pb.RegisterUserResponse:
        token = await self._registrations.admit(request.token, address_of(context.peer()))
        user, secret = await self._registrations.register(token, account_from_proto(request))
        return pb.RegisterUserResponse(user=user_to_proto(user), secret=secret)

    async def CreateInvitation(
        self, request: pb.CreateInvitationRequest, context: Context
    ) -> pb.CreateInvitationResponse:
        asked = create_from_proto(request)
        invitation, token = await self._invitations.create(
            identity.caller(), role=asked.role, ttl=asked.ttl, note=asked.note, request_id=asked.request_id
        )
        return pb.CreateInvitationResponse(invitation=invitation_to_proto(invitation), token=token)

    async def ListInvitations(self, request: pb.ListInvitationsRequest, context: Context) -> pb.ListInvitationsResponse:
        page = await self._invitations.list(
            identity.caller(), page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListInvitationsResponse(
            invitations=map(invitation_to_proto, page.items), next_page_token=page.next_page_token
        )

    async def DeleteInvitation(self, request: pb.DeleteInvitationRequest, context: Context) -> pb.Invitation:
        kid, request_id = names.parse_invitation_name(request.name), names.check_request_id(request.request_id)
        return invitation_to_proto(await self._invitations.revoke(identity.caller(), kid, request_id))
