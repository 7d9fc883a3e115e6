"""Lets machines join as runners: a single-use token certifies a public key; name and subnet are permanent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Credential
from netvps.domain.access.identity import RunnerIdentity
from netvps.domain.checks import Checks
from netvps.domain.names import RUNNER_NAME_MAX, check_label
from netvps.domain.runner.runner import Runner
from netvps.errors import Unauthenticated
from netvps.faults import fault_point
from netvps.services.access.tokens import JOIN, Token
from netvps.services.runners.leases import lease

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from netvps.domain.overlay.settings import OverlaySettings
    from netvps.services.ports import CertificateAuthority, Clock, Reader, Store, Transaction

TOKEN_LIFE = timedelta(hours=1)
_REMEDY = "make a new one: netvps runner join-token"


@dataclass(frozen=True, slots=True)
class Joined:
    """The identity of a runner; the certificate is PEM."""

    runner: Runner
    certificate: str


@dataclass(frozen=True, slots=True)
class Joining:
    """Handles joins. Each runner gets a subnet with a prefix of length `prefix` from the pool of `overlay_settings`."""

    store: Store
    clock: Clock
    new_uid: Callable[[], str]
    ca: CertificateAuthority
    overlay_settings: OverlaySettings
    prefix: int

    async def join(self, join_token: str, csr: str, runner_id: str) -> Joined:
        """The identity of a machine. Raises InvalidInput, Unauthenticated, and Exhausted if no subnet is left."""
        token = self._parse(join_token)
        now = self.clock()
        async with self.store.read() as reader:  # invalid tokens cost a read, not the write lock
            await _redeemable(reader, token, now)
        public_key = self._check(csr, runner_id)
        async with self.store.write(f"join:{token.kid}", "join.runner") as tx:
            credential = await _redeemable(tx, token, now)
            if credential.used_by not in {"", public_key}:
                raise Unauthenticated(f"this join token was used by another machine, and works only once: {_REMEDY}")
            runner = await self._runner(tx, credential, public_key, runner_id, now)
            if not credential.used_by:
                await tx.put(replace(credential, used_by=public_key, used_for=runner.uid))
        certificate, _ = self.ca.sign_client(csr, RunnerIdentity(runner.uid).uri, now)
        fault_point("join.signed")
        return Joined(runner, certificate)

    def _parse(self, text: str) -> Token:
        token = Token.parse(text, JOIN)
        if token is None:
            raise Unauthenticated(f"this is not a complete join token (nvj_…): copy it again, or {_REMEDY}")
        if token.fingerprint != self.ca.fingerprint:
            raise Unauthenticated(f"this join token is for another control plane: on this one, {_REMEDY}")
        return token

    def _check(self, csr: str, runner_id: str) -> str:
        checks, public_key = Checks(), ""
        with checks.nested():
            check_label(runner_id, "runner_id", RUNNER_NAME_MAX)
        with checks.nested():
            public_key = self.ca.csr_key(csr)
        checks.done()
        return public_key

    async def _runner(
        self, tx: Transaction, credential: Credential, public_key: str, runner_id: str, now: datetime
    ) -> Runner:
        if credential.used_for:
            runner = await tx.get(Runner, credential.used_for)
            if runner is None:
                raise Unauthenticated(f"the runner that this join token was used for was removed: {_REMEDY}")
            return runner
        if known := await _joined_before(tx, credential, public_key, now):
            return known
        name = await free_name(tx, runner_id)
        runner = await tx.put(Runner(self.new_uid(), name, create_time=now, last_seen=now))
        await lease(tx, runner.uid, self.overlay_settings, self.prefix)
        return runner


async def _redeemable(reader: Reader, token: Token, now: datetime) -> Credential:
    """The credential of a join token, used or not. Raises Unauthenticated."""
    credential = await reader.get(Credential, token.kid)
    if credential is None or credential.purpose != JOIN or not credential.holds(token.secret):
        raise Unauthenticated(f"this join token is not known here: {_REMEDY}")
    if credential.expired(now):
        raise Unauthenticated(f"this join token has expired (they last an hour): {_REMEDY}")
    return credential


async def _joined_before(tx: Transaction, credential: Credential, public_key: str, now: datetime) -> Runner | None:
    """The runner that joined earlier with the same key. Deletes earlier tokens of that key if they have expired.

    A machine that crashed after the join and before it stored its identity still has its key, and joins again with a
    new token. So does a machine whose certificate expired while it was off.
    """
    known = None
    for earlier in await tx.find(Credential, purpose=JOIN, used_by=public_key):
        if earlier.kid == credential.kid:
            continue
        known = known or await tx.get(Runner, earlier.used_for)
        if earlier.expired(now):
            await tx.delete(earlier)
    return known


async def free_name(reader: Reader, wanted: str) -> str:
    """The wanted name, with the lowest suffix from -2 on if another runner has it."""
    name, number = wanted, 1
    if not await reader.find(Runner, name=name):
        return name
    taken = await reader.tally(Runner, "name")
    while name in taken:
        number += 1
        suffix = f"-{number}"
        name = wanted[: RUNNER_NAME_MAX - len(suffix)].rstrip("-") + suffix
    return name
