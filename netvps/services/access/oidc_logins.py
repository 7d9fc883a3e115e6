"""Logs people in with their account at an OIDC issuer, by the device flow: the first login makes their account here."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Credential, SshKey, User
from netvps.domain.access.oidc import ExternalAccount, LoginState, StartedLogin, account_key, person_of
from netvps.domain.access.rate_limit import Rate, RateLimit
from netvps.errors import AlreadyExists, DataLoss, Exhausted, NotPermitted, Unauthenticated
from netvps.services.access.registration import add_account, require_rate
from netvps.services.access.ssh_keys import require_new
from netvps.services.access.tokens import API, mint
from netvps.services.auditing import add_details

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netvps.domain.access.oidc import LoginRules, Person
    from netvps.domain.access.ssh_key import PublicKey
    from netvps.services.ports import Clock, OidcIssuer, Store, Transaction, Vault

STARTS, STARTS_IN_ALL = Rate(10, 60.0), Rate(120, 60.0)
CALLS, CALLS_IN_ALL = Rate(120, 60.0), Rate(1200, 60.0)
"""Of clients that ask whether a login was confirmed."""
QUESTIONS: Final = 32
"""Questions to the issuer that are open at once."""
KEY_LIFE: Final = timedelta(days=7)
"""Of the API key that a login gives."""
API_KEY_TITLE: Final = "oidc login"
_ABOUT: Final = "an OIDC login"
_TOKEN_MAX: Final = 8192


class OidcLogins:
    """Logs in people of one issuer, if there is one."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_uid: Callable[[], str],
        vault: Vault,
        issuer: OidcIssuer | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._vault = vault
        self._issuer = issuer
        self._monotonic = monotonic
        self._starts = RateLimit(STARTS, STARTS_IN_ALL)
        self._calls = RateLimit(CALLS, CALLS_IN_ALL)
        self._open = 0

    async def start(self, source: str) -> StartedLogin:
        """Begins a login for a source. Raises Exhausted, NotPermitted, Unavailable, WrongState."""
        require_rate(self._starts, source, self._monotonic(), "logins")
        issuer = self._configured()
        with self._question():
            code = await issuer.start()
        ends = self._clock() + timedelta(seconds=code.seconds)
        token = self._vault.seal(json.dumps([code.device_code, ends.timestamp()]), _ABOUT)
        return StartedLogin(
            token, code.user_code, code.verification_uri, code.verification_uri_complete, ends, code.interval
        )

    def admit(self, token: str, source: str) -> str:
        """The code that a login's token contains; counts the call of its source.

        Nothing that costs more comes before. Raises Exhausted, NotPermitted, Unauthenticated.
        """
        require_rate(self._calls, source, self._monotonic(), "logins")
        self._configured()
        try:
            if len(token) > _TOKEN_MAX:
                raise _ended()
            code, ends = json.loads(self._vault.open(token, _ABOUT))
        except DataLoss:
            raise _ended() from None
        if self._clock() >= datetime.fromtimestamp(ends, UTC):
            raise _ended()
        return str(code)

    async def finish(self, code: str, key: PublicKey) -> tuple[User, Credential, str] | LoginState:
        """The person who confirmed the code that `admit` returned, with an API key; or how far the login is.

        Registers the SSH key. Raises Unauthenticated, NotPermitted, AlreadyExists, Exhausted, Unavailable, WrongState.
        """
        issuer = self._configured()
        rules = issuer.rules
        with self._question():
            answer = await issuer.ask(code)
        if isinstance(answer, LoginState):
            return answer
        person, now = person_of(answer, rules), self._clock()
        async with self._store.read() as reader:  # at the issuer, the name may be another one by now
            known = await reader.get(ExternalAccount, account_key(rules.issuer, person.subject))
        async with self._store.write(known.user if known else person.name) as tx:
            user = await self._user(tx, rules, person, key, now)
            for old in await tx.find(Credential, purpose=API, subject=user.name):
                if old.title == API_KEY_TITLE and old.expired(now):
                    await tx.delete(old)
            credential, secret = mint(API, user.name, now, KEY_LIFE, title=API_KEY_TITLE)
            credential = await tx.put(credential)
            add_details(("user", user.name), ("subject", person.subject), ("role", user.role), ("kid", credential.kid))
        return user, credential, secret

    async def _user(self, tx: Transaction, rules: LoginRules, person: Person, key: PublicKey, now: datetime) -> User:
        """The user whom the issuer's account is, with the SSH key; a new one at the first login."""
        account = await tx.get(ExternalAccount, account_key(rules.issuer, person.subject))
        user = await tx.get(User, account.user) if account else None
        if user is None:
            if await tx.get(User, person.name) is not None:
                raise AlreadyExists(
                    f"user {person.name} exists already and belongs to another account: log in with its API key; if it"
                    " is not yours, ask an admin",
                    reason="NAME_TAKEN",
                )
            user = await add_account(tx, User(person.name, rules.role, now), key, self._new_uid())
            await tx.put(ExternalAccount(rules.issuer, person.subject, user.name, now))
        elif not await tx.find(SshKey, fingerprint=key.fingerprint, owner=user.name):
            await require_new(tx, user.name, key.fingerprint)
            await tx.put(SshKey(self._new_uid(), user.name, key.text, key.fingerprint, key.comment, now))
        return user

    def _configured(self) -> OidcIssuer:
        if self._issuer is None:
            raise NotPermitted(
                "this server has no OIDC issuer to log in with: log in with an API key, with netvps login HOST",
                reason="NO_ISSUER",
            )
        return self._issuer

    @contextmanager
    def _question(self) -> Iterator[None]:
        """Counts a question to the issuer. Raises Exhausted."""
        if self._open >= QUESTIONS:
            raise Exhausted(
                f"{QUESTIONS} logins wait for an answer of the issuer: try again in a few seconds",
                reason="TOO_MANY_LOGINS",
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


def _ended() -> Unauthenticated:
    return Unauthenticated(
        "this login is unknown or has expired: log in again, with netvps login HOST --sso", reason="LOGIN_ENDED"
    )
