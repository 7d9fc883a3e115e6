"""Lets people make their own account: by an invitation, which works once, or without one where the server is open."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Caller, Credential, Role, SshKey, User
from netvps.domain.access.invitations import Invitation, InvitationState
from netvps.domain.access.rate_limit import Rate, RateLimit
from netvps.domain.server import Registration
from netvps.errors import AlreadyExists, Exhausted, NotPermitted, Unauthenticated
from netvps.services.access.ssh_keys import require_new
from netvps.services.access.tokens import API, INVITE, Token, mint
from netvps.services.auditing import add_details
from netvps.services.idempotency import Idempotency

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from netvps.domain.access.invitations import NewAccount
    from netvps.domain.access.ssh_key import PublicKey
    from netvps.services.ports import CertificateAuthority, Clock, Store, Transaction

TRIES, TRIES_IN_ALL = Rate(10, 60.0), Rate(600, 60.0)
ACCOUNTS, ACCOUNTS_IN_ALL = Rate(5, 3600.0), Rate(100, 86_400.0)
"""Of accounts that are made without an invitation."""
API_KEY_TITLE: Final = "registration"


class Registrations:
    """Makes accounts for people who have none."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_uid: Callable[[], str],
        ca: CertificateAuthority,
        mode: Registration,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = mode
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._ca = ca
        self._monotonic = monotonic
        self._tries = RateLimit(TRIES, TRIES_IN_ALL)
        self._accounts = RateLimit(ACCOUNTS, ACCOUNTS_IN_ALL)

    async def admit(self, token: str, source: str) -> Token | None:
        """Checks that a stranger may ask for an account: counts the try of its source, and verifies the token.

        Nothing that costs more, and nothing that tells of users and keys, comes before. Returns None for a try without
        a token where the server is open. Raises Exhausted, NotPermitted, Unauthenticated.
        """
        require_rate(self._tries, source, self._monotonic())
        if self.mode is Registration.CLOSED:
            raise NotPermitted(
                "this server is closed to registration: ask one of its admins for an account and an API key, then: "
                "netvps login HOST",
                reason="REGISTRATION_CLOSED",
            )
        if not token and self.mode is Registration.OPEN:
            require_rate(self._accounts, source, self._monotonic())
            return None
        parsed = Token.parse(token, INVITE)
        if parsed is None or parsed.fingerprint != self._ca.fingerprint:
            raise _refused()
        async with self._store.read() as reader:
            found = await reader.get(Invitation, parsed.kid)
        if found is None or not found.holds(parsed.secret):
            raise _refused()
        return parsed

    async def register(self, token: Token | None, asked: NewAccount) -> tuple[User, str]:
        """The new user, and an API key for them; `token` is what `admit` returned.

        Raises Unauthenticated for an invitation that is not open, AlreadyExists for a name or key that is in use.
        """
        now, name = self._clock(), asked.user_id
        async with self._store.write(name) as tx:
            kid = token.kid if token else ""
            arguments = ("RegisterUser", kid, name, asked.key.text)
            once = Idempotency(tx, Caller(name, Role.USER), asked.request_id, now, *arguments)
            if not token:
                await once.earlier_secret()
            earlier = await once.earlier()
            if earlier is not None:
                user = await _asked_before(tx, name, earlier.result_key)
            else:
                invitation = await self._open(tx, token, now) if token else None
                role = invitation.role if invitation else Role.USER
                user = await add_account(tx, User(name, role, now), asked.key, self._new_uid())
                if invitation is not None:
                    await tx.put(replace(invitation, redeemed_by=name, end_time=now))
            credential, secret = mint(API, name, now, title=API_KEY_TITLE)
            await once.record(await tx.put(credential), f"API key {credential.kid}")
            add_details(("invitation", kid), ("role", user.role))
        return user, secret

    async def _open(self, tx: Transaction, token: Token, now: datetime) -> Invitation:
        found = await tx.get(Invitation, token.kid)
        issuer = await tx.get(User, found.issuer) if found else None
        if found is None or not found.holds(token.secret) or found.state(now, issuer) is not InvitationState.OPEN:
            raise _refused()
        return found


async def add_account(tx: Transaction, user: User, key: PublicKey, key_uid: str) -> User:
    """Adds a user with an SSH key. Raises AlreadyExists for a name or key that is in use."""
    if await tx.get(User, user.name) is not None:
        raise AlreadyExists(f"user {user.name} exists already: choose another one")
    await require_new(tx, user.name, key.fingerprint)
    added = await tx.put(user)
    await tx.put(SshKey(key_uid, user.name, key.text, key.fingerprint, key.comment, user.create_time))
    return added


async def _asked_before(tx: Transaction, name: str, kid: str) -> User:
    """The user whom the same request made; takes away the API key that its lost answer had."""
    user, lost = await tx.get(User, name), await tx.get(Credential, kid)
    if user is None or lost is None or lost.subject != name:
        raise _refused()
    await tx.delete(lost)
    return user


def require_rate(limit: RateLimit, source: str, now: float, what: str = "registrations") -> None:
    """Counts a try of a source. Raises Exhausted beyond the limit."""
    wait = limit.take(source, now)
    if wait:
        raise Exhausted(
            f"too many {what} were tried: try again in {math.ceil(wait)} s", reason=f"TOO_MANY_{what.upper()}"
        )


def _refused() -> Unauthenticated:
    """One error for every cause, so that strangers learn nothing."""
    return Unauthenticated(
        "this invitation is unknown, used, expired or revoked: ask who invited you for another one",
        reason="BAD_INVITATION",
    )
