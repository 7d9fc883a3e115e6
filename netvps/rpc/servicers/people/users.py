"""UserService: users and their API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import user_pb2 as pb
from netvps.api.v1.user_pb2_grpc import UserServiceServicer
from netvps.rpc.convert import names
from netvps.rpc.convert.access.quotas import use_to_proto
from netvps.rpc.convert.users import (
    api_key_to_proto,
    create_api_key_from_proto,
    create_from_proto,
    rotate_api_key_from_proto,
    update_from_proto,
    user_to_proto,
)
from netvps.rpc.server import identity
from netvps.services.access.accounts import OVERLAP

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.access.accounts import Access
    from netvps.services.access.key_uses import KeyUseLog


class UserServicer(UserServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, access: Access, uses: KeyUseLog) -> None:
        self._access = access
        self._uses = uses

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.User:
        return user_to_proto(await self._access.get_user(identity.caller(), names.parse_user_name(request.name)))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        page = await self._access.list_users(
            identity.caller(), page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListUsersResponse(
            users=[user_to_proto(user) for user in page.items], next_page_token=page.next_page_token
        )

    async def CreateUser(self, request: pb.CreateUserRequest, context: Context) -> pb.User:
        parsed = create_from_proto(request)
        user = await self._access.create_user(identity.caller(), parsed.user_id, parsed.role, parsed.request_id)
        return user_to_proto(user)

    async def UpdateUser(self, request: pb.UpdateUserRequest, context: Context) -> pb.User:
        asked = update_from_proto(request)
        caller, request_id = identity.caller(), asked.request_id
        return user_to_proto(
            await self._access.update_user(caller, asked.name, asked.role, asked.quota, request_id=request_id)
        )

    async def GetUserQuota(self, request: pb.GetUserQuotaRequest, context: Context) -> pb.UserQuota:
        return use_to_proto(await self._access.quota_use(identity.caller(), names.parse_user_name(request.name)))

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Context) -> pb.User:
        name, request_id = names.parse_user_name(request.name), names.check_request_id(request.request_id)
        return user_to_proto(await self._access.delete_user(identity.caller(), name, request_id))

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        parsed = create_api_key_from_proto(request)
        credential, secret = await self._access.create_api_key(
            identity.caller(),
            parsed.user,
            parsed.request_id,
            title=parsed.title,
            ttl=parsed.ttl,
            scope=parsed.scope,
        )
        return pb.CreateApiKeyResponse(api_key=api_key_to_proto(credential), secret=secret)

    async def RotateApiKey(self, request: pb.RotateApiKeyRequest, context: Context) -> pb.RotateApiKeyResponse:
        parsed = rotate_api_key_from_proto(request)
        overlap = OVERLAP if parsed.overlap is None else parsed.overlap
        credential, secret = await self._access.rotate_api_key(
            identity.caller(), parsed.user, parsed.kid, parsed.request_id, overlap=overlap
        )
        return pb.RotateApiKeyResponse(api_key=api_key_to_proto(credential), secret=secret)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        page = await self._access.list_api_keys(
            identity.caller(),
            names.parse_user_name(request.parent, "parent"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        uses = await self._uses.last_uses([key.kid for key in page.items])
        return pb.ListApiKeysResponse(
            api_keys=[api_key_to_proto(key, uses.get(key.kid)) for key in page.items],
            next_page_token=page.next_page_token,
        )

    async def DeleteApiKey(self, request: pb.DeleteApiKeyRequest, context: Context) -> pb.ApiKey:
        (user, kid), request_id = names.parse_api_key_name(request.name), names.check_request_id(request.request_id)
        return api_key_to_proto(await self._access.delete_api_key(identity.caller(), user, kid, request_id))
