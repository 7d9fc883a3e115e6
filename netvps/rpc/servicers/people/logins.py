"""LoginService: people log in with their account at an OIDC issuer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import login_pb2 as pb
from netvps.api.v1.login_pb2_grpc import LoginServiceServicer
from netvps.domain.access.oidc import LoginState
from netvps.domain.access.ssh_key import PublicKey
from netvps.rpc.convert.access.logins import STATE, done_to_proto, started_to_proto
from netvps.rpc.server.open_calls import address_of

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context
    from netvps.services.access.oidc_logins import OidcLogins


class LoginServicer(LoginServiceServicer):
    """Raises the errors of the service."""

    def __init__(self, logins: OidcLogins) -> None:
        self._logins = logins

    async def StartLogin(self, request: pb.StartLoginRequest, context: Context) -> pb.StartLoginResponse:
        return started_to_proto(await self._logins.start(address_of(context.peer())))

    async def FinishLogin(self, request: pb.FinishLoginRequest, context: Context) -> pb.FinishLoginResponse:
        code = self._logins.admit(request.login_token, address_of(context.peer()))
        answer = await self._logins.finish(code, PublicKey.parse(request.public_key))
        if isinstance(answer, LoginState):
            return pb.FinishLoginResponse(state=STATE.to_proto(answer))
        user, credential, secret = answer
        return done_to_proto(user, secret, credential.expire_time)
