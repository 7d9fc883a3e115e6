"""Issues client certificates for existing identities: to agents with a boot token, and for renewals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Credential
from netvps.domain.access.identity import RunnerIdentity, ServerIdentity, SessionIdentity, parse_identity
from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session
from netvps.errors import InvalidInput, Unauthenticated
from netvps.services.access.tokens import BOOT, Token

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.services.ports import CertificateAuthority, Clock, Reader, Store

_REMEDY = "restart the session to get a new one"


class Certificates:
    """Signs certificates for identities that are still valid."""

    def __init__(self, store: Store, clock: Clock, ca: CertificateAuthority) -> None:
        self._store = store
        self._clock = clock
        self._ca = ca

    async def boot_agent(self, boot_token: str, csr: str) -> str:
        """Issues an agent's certificate (PEM). The same token with the same key returns the same identity.

        Raises InvalidInput, Unauthenticated.
        """
        token = Token.parse(boot_token, BOOT)
        if token is None:
            raise Unauthenticated(f"this is not a boot token: {_REMEDY}")
        now = self._clock()
        async with self._store.read() as reader:  # invalid tokens cost a read, not the write lock
            await _redeemable(reader, token, now)
        public_key = self._ca.csr_key(csr)
        async with self._store.write(f"boot:{token.kid}", "agent.certificate") as tx:
            credential = await _redeemable(tx, token, now)
            if credential.used_by not in {"", public_key}:
                raise Unauthenticated(f"this boot token was used with another key: {_REMEDY}")
            uid, _, epoch = credential.subject.partition("/")
            identity = SessionIdentity(uid, int(epoch))
            await _require_current(tx, identity)
            if not credential.used_by:
                await tx.put(replace(credential, used_by=public_key, used_for=identity.uri))
        certificate, _ = self._ca.sign_client(csr, identity.uri, now)
        return certificate

    async def renew(self, identity_uri: str, csr: str) -> tuple[str, datetime]:
        """Renews an identity's certificate (PEM) and returns its expiry time.

        Raises InvalidInput for the CSR, and Unauthenticated if the runner, the session or the placement is gone.
        """
        try:
            identity = parse_identity(identity_uri)
        except InvalidInput as error:
            raise Unauthenticated(f"{error.violations[0].description}: join again") from None
        if isinstance(identity, ServerIdentity):
            raise Unauthenticated("a server makes its certificate itself, at each start")
        self._ca.csr_key(csr)
        async with self._store.read() as reader:
            await _require_current(reader, identity)
        return self._ca.sign_client(csr, identity.uri, self._clock())


async def _redeemable(reader: Reader, token: Token, now: datetime) -> Credential:
    """The credential of a boot token. Raises Unauthenticated."""
    credential = await reader.get(Credential, token.kid)
    if credential is None or credential.purpose != BOOT or not credential.matches(token.secret, now):
        raise Unauthenticated(f"this boot token is unknown or has expired: {_REMEDY}")
    return credential


async def _require_current(reader: Reader, identity: RunnerIdentity | SessionIdentity) -> None:
    """Raises Unauthenticated if the runner, session or placement of the identity is gone."""
    if isinstance(identity, RunnerIdentity):
        if await reader.get(Runner, identity.uid) is None:
            raise Unauthenticated("this runner was removed: join again, with a token from netvps runner join-token")
        return
    session = await reader.get(Session, identity.uid)
    if session is None or session.epoch != identity.epoch:
        raise Unauthenticated(f"{identity} is over: the session was removed, or is placed elsewhere")
