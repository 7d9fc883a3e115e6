"""Authentication per listener: peer credentials, API keys, client certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from netvps.domain.checks import shown
from netvps.errors import InvalidInput, Unauthenticated
from netvps.rpc.client.leasing import LEASE
from netvps.rpc.server.identity import of_certificate
from netvps.rpc.server.local_socket import peer_uid
from netvps.services.access.terminal_ui import TOKEN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netvps.domain.access.accounts import Caller
    from netvps.domain.access.identity import Certified
    from netvps.rpc.server.context import Context
    from netvps.services.access.accounts import Access
    from netvps.services.access.terminal_ui import UiTokens

_BEARER = "Bearer "
_EPOCH_DIGITS = 18


class Authenticator(Protocol):
    """Authenticates a call. Raises Unauthenticated."""

    async def __call__(self, context: Context) -> Caller | Certified:
        """The identity of the caller."""


class PeerCredentials:
    """For the local socket: the kernel reports the peer's uid, which `users` maps to a user.

    A call that has a credential counts as that credential alone, also if it is not valid: programs on this machine that
    call for other people (netvps web) must never get their own account's rights for a wrong one.
    """

    def __init__(self, access: Access, users: Mapping[int, str], ui_tokens: UiTokens) -> None:
        """`ui_tokens` are those of terminal UIs that this server shows over SSH, whatever account they run as."""
        self._access = access
        self._users = users
        self._ui_tokens = ui_tokens

    async def __call__(self, context: Context) -> Caller:
        """The caller. Raises Unauthenticated if the peer's account maps to no user, and for an invalid credential."""
        token = bearer(context)
        if token is not None:
            if token.startswith(TOKEN_PREFIX):
                return await self._access.caller_of(self._ui_tokens.user_of(token))
            return await self._access.authenticate(token)
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
        key = bearer(context)
        if not key:
            raise Unauthenticated(
                "this call has no API key: ask an admin for one, then: netvps login HOST", reason="NO_CREDENTIAL"
            )
        return await self._access.authenticate(key)


class Certificates:
    """For :7444: a client certificate, verified by the TLS handshake."""

    async def __call__(self, context: Context) -> Certified:
        """The runner or session. Raises Unauthenticated if the certificate names neither."""
        return of_certificate(context.auth_context())


def lease_of(context: Context) -> int:
    """The epoch of the lease in the metadata of a call; 0 if there is none. Raises InvalidInput."""
    values = [str(value) for key, value in context.invocation_metadata() or () if key == LEASE]
    if not values:
        return 0
    if len(values) > 1 or not (values[0].isdecimal() and len(values[0]) <= _EPOCH_DIGITS and int(values[0])):
        raise InvalidInput.of(LEASE, f"{shown(', '.join(values))} is not the epoch of one lease: see AcquireLease")
    return int(values[0])


def bearer(context: Context) -> str | None:
    """The credential in the metadata of a call; None if there is none, and '' for several or a malformed one."""
    values = [str(value) for key, value in context.invocation_metadata() or () if key == "authorization"]
    if not values:
        return None
    return values[0].removeprefix(_BEARER) if len(values) == 1 and values[0].startswith(_BEARER) else ""
