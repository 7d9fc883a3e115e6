"""SshKeyService: the SSH public keys of users."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.api.v1 import ssh_key_pb2 as pb
from netvps.api.v1.ssh_key_pb2_grpc import SshKeyServiceServicer
from netvps.rpc.convert import names
from netvps.rpc.convert.ssh_keys import create_from_proto, ssh_key_to_proto
from netvps.rpc.convert.times import duration_from_proto, time_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.access.ssh_certificates import SshCertificates
    from netvps.services.access.ssh_keys import SshKeys
    from netvps.services.access.ssh_tickets import SshTickets


class SshKeyServicer(SshKeyServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, keys: SshKeys, certificates: SshCertificates, tickets: SshTickets) -> None:
        self._keys = keys
        self._certificates = certificates
        self._tickets = tickets

    async def ListSshKeys(self, request: pb.ListSshKeysRequest, context: Context) -> pb.ListSshKeysResponse:
        page = await self._keys.list(
            identity.caller(),
            parent=names.parse_owner(request.parent, "parent"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListSshKeysResponse(
            ssh_keys=[ssh_key_to_proto(key) for key in page.items], next_page_token=page.next_page_token
        )

    async def CreateSshKey(self, request: pb.CreateSshKeyRequest, context: Context) -> pb.SshKey:
        parsed = create_from_proto(request)
        key = await self._keys.create(
            identity.caller(), parsed.key, parent=parsed.owner, title=parsed.title, request_id=parsed.request_id
        )
        return ssh_key_to_proto(key)

    async def DeleteSshKey(self, request: pb.DeleteSshKeyRequest, context: Context) -> pb.SshKey:
        user, key = names.parse_ssh_key_name(request.name)
        owner = "" if user == names.ME else user
        request_id = names.check_request_id(request.request_id)
        return ssh_key_to_proto(await self._keys.delete(identity.caller(), owner, key, request_id=request_id))

    async def IssueSshCertificate(
        self, request: pb.IssueSshCertificateRequest, context: Context
    ) -> pb.IssueSshCertificateResponse:
        life = timedelta(seconds=duration_from_proto(request.ttl)) if request.HasField("ttl") else None
        certificate, expires = self._certificates.issue(identity.caller(), request.public_key, life)
        return pb.IssueSshCertificateResponse(certificate=certificate, expire_time=time_to_proto(expires))

    async def IssueSshTicket(self, request: pb.IssueSshTicketRequest, context: Context) -> pb.IssueSshTicketResponse:
        return pb.IssueSshTicketResponse(
            ticket=await self._tickets.issue(identity.caller(), request.host, request.attachment)
        )
