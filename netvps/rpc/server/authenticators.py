"""Authentication per listener: peer credentials, API keys, client certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from netvps.errors import Unauthenticated
from netvps.rpc.server.identity import of_certificate
from netvps.rpc.server.local_socket import peer_uid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netvps.domain.access.accounts import Caller
    from netvps.rpc.server.context import Context
    from netvps.rpc.server.identity import Certified
    from netvps.services.access.accounts import Access

_BEARER = "Bearer "


class Authenticator(Protocol):
    """Authenticates a call. Raises Unauthenticated."""

    async def __call__(self, context: Context) -> Caller | Certified:
        """The identity of the caller."""


class PeerCredentials:
    """For the local socket: the kernel reports the peer's uid, which `users` maps to a user."""

    def __init__(self, access: Access, users: Mapping[int, str]) -> None:
        self._access = access
        self._users = users

    async def __call__(self, context: Context) -> Caller:
        """The caller. Raises Unauthenticated if the peer's account maps to no user."""
        uid = peer_uid(context.peer())
        user = self._users.get(uid)
        if user is None:
            raise Unauthenticated(
                f"your account (uid {uid}) is not known here: ask an admin for an API key, then: netvps login HOST",
                reason="UNKNOWN_ACCOUNT",
            )
        return await self._access.caller_of(user)


class ApiKeys:
    """For :7443: an API key in the metadata of each call."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __call__(self, context: Context) -> Caller:
        """The caller. Raises Unauthenticated if the key is missing or invalid."""
        values = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        if len(values) != 1 or not str(values[0]).startswith(_BEARER):
            raise Unauthenticated(
                "this call has no API key: ask an admin for one, then: netvps login HOST", reason="NO_CREDENTIAL"
            )
        return await self._access.authenticate(str(values[0]).removeprefix(_BEARER))


class Certificates:
    """For :7444: a client certificate, verified by the TLS handshake."""

    async def __call__(self, context: Context) -> Certified:
        """The runner or session. Raises Unauthenticated if the certificate names neither."""
        return of_certificate(context.auth_context())
