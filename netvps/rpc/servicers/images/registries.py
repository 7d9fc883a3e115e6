"""RegistryService: the logins with which runners pull images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import registry_pb2 as pb
from netvps.api.v1.registry_pb2_grpc import RegistryServiceServicer
from netvps.rpc.convert import names
from netvps.rpc.convert import registries as convert
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.images.registries import Registries


class RegistryServicer(RegistryServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries

    async def ListRegistryLogins(
        self, request: pb.ListRegistryLoginsRequest, context: Context
    ) -> pb.ListRegistryLoginsResponse:
        page = await self._registries.list(
            identity.caller(), page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListRegistryLoginsResponse(
            registry_logins=map(convert.login_to_proto, page.items), next_page_token=page.next_page_token
        )

    async def UpdateRegistryLogin(self, request: pb.UpdateRegistryLoginRequest, context: Context) -> pb.RegistryLogin:
        credential, request_id = convert.update_from_proto(request)
        return convert.login_to_proto(await self._registries.put(identity.caller(), credential, request_id))

    async def DeleteRegistryLogin(
        self, request: pb.DeleteRegistryLoginRequest, context: Context
    ) -> pb.DeleteRegistryLoginResponse:
        host = names.parse_registry_login_name(request.name)
        await self._registries.delete(identity.caller(), host, names.check_request_id(request.request_id))
        return pb.DeleteRegistryLoginResponse()
