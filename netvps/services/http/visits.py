"""Decides who may open which URL, and logs browsers in.

A browser has a cookie per host, so that no app gets one that is good elsewhere: the host of logins has its own, for
which it issues codes, and each other host exchanges a code for its cookie. A cookie is sealed for one host. It is not
stored: it ends with its time, its user, or the API key that it was made with.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import astuple, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from netvps.domain.access.accounts import Caller, Credential, Scope, User
from netvps.domain.access.sharing import Right
from netvps.errors import DataLoss, Exhausted, NotFound, Unauthenticated
from netvps.services.access.logins import SessionRef, ref_to
from netvps.services.access.tokens import API, Token
from netvps.services.sessions.scope import permitted_session

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.http.site import Site
    from netvps.services.access.accounts import Access
    from netvps.services.ports import Clock, Store, Vault

LOGIN_TIME: Final = timedelta(hours=24)
"""After which a browser logs in again."""
_CODE_SECONDS: Final = 60
_CODES: Final = 10_000
"""Maximum codes that are remembered as used."""


@dataclass(frozen=True, slots=True)
class AdmittedRequest:
    """A request that may pass."""

    session: SessionRef
    port: int
    user: str


@dataclass(frozen=True, slots=True)
class _Login:
    """What a cookie or a code says."""

    user: str
    born: int
    """When the user was added: a later one with that name is another person."""
    kid: str
    """The API key that it was made with; '' for none."""
    until: int
    """When it ends, in seconds since 1970."""


class Visits:
    """Authorises requests at hosts of a site."""

    def __init__(self, store: Store, clock: Clock, access: Access, vault: Vault, site: Site) -> None:
        self._store, self._clock, self._access = store, clock, access
        self._vault = vault
        self.site = site
        self._used: dict[str, int] = {}
        """Codes that were used, with their ends."""

    async def visit(self, host: str, cookie: str, api_key: str) -> AdmittedRequest:
        """Admits a request at a host, by an API key or, if that is '', by a cookie.

        Raises Unauthenticated for whoever is not known, whatever the host; NotFound with one message for what does not
        exist and what the caller may not know of; NotPermitted if it is shared with them, but not for that.
        """
        caller = await (self._access.authenticate(api_key) if api_key else self._caller(cookie, host))
        place = self.site.place_of(host)
        if place is None:
            raise no_url(host)
        async with self._store.read() as reader:
            try:
                session, _ = await permitted_session(reader, caller, place.session, Right.LOGIN, self._clock())
            except NotFound:
                raise no_url(host) from None
        return AdmittedRequest(ref_to(session), place.port, caller.user)

    async def log_in(self, api_key: str) -> str:
        """The cookie of the host of logins for an API key. Raises Unauthenticated."""
        caller, token = await self._access.authenticate(api_key), Token.parse(api_key, API)
        return self._cookie(await self._new_login(caller.user, token.kid if token else ""), self.site.login_host)

    async def user_of(self, cookie: str) -> str:
        """The user who is logged in at the host of logins. Raises Unauthenticated."""
        return (await self._caller(cookie, self.site.login_host)).user

    async def code(self, cookie: str, host: str) -> str:
        """A code for one login at a host, by the cookie of the host of logins. Raises Unauthenticated."""
        await self._caller(cookie, self.site.login_host)
        return self._code(self._login(cookie, self.site.login_host), host)

    async def code_for(self, user: str, host: str) -> str:
        """A code for one login at a host, of a user who was authenticated otherwise. Raises Unauthenticated."""
        return self._code(await self._new_login(user, ""), host)

    async def enter(self, host: str, code: str) -> str:
        """Exchanges a code for the cookie of a host. Raises Unauthenticated if it is used, old or of another host."""
        now = self._now()
        *login, number, end = self._open(code, f"HTTP code of {host}")
        if number in self._used or end <= now:
            raise Unauthenticated("this link was used already, or is too old: open the URL again", reason="LOG_IN")
        self._used = {each: until for each, until in self._used.items() if until > now}
        if len(self._used) >= _CODES:
            raise Exhausted("too many browsers log in at once: try again in a minute")
        self._used[number] = end
        return self._cookie(_Login(*login), host)

    async def _new_login(self, user_name: str, kid: str) -> _Login:
        async with self._store.read() as reader:
            user = await reader.get(User, user_name)
        if user is None:
            raise _unknown()
        return _Login(user.name, _seconds(user.create_time), kid, self._now() + int(LOGIN_TIME.total_seconds()))

    async def _caller(self, cookie: str, host: str) -> Caller:
        login = self._login(cookie, host)
        async with self._store.read() as reader:
            user = await reader.get(User, login.user)
            credential = await reader.get(Credential, login.kid) if login.kid else None
        revoked = login.kid and (credential is None or credential.expired(self._clock()))
        if user is None or _seconds(user.create_time) != login.born or revoked:
            raise _unknown()
        scope = credential.scope if credential else Scope.FULL
        return Caller(user.name, scope.limits(user.role), scope)

    def _login(self, cookie: str, host: str) -> _Login:
        login = _Login(*self._open(cookie, f"HTTP cookie of {host}"))
        if login.until <= self._now():
            raise _unknown()
        return login

    def _cookie(self, login: _Login, host: str) -> str:
        return self._vault.seal(json.dumps(astuple(login)), f"HTTP cookie of {host}")

    def _code(self, login: _Login, host: str) -> str:
        code = (*astuple(login), secrets.token_hex(16), self._now() + _CODE_SECONDS)
        return self._vault.seal(json.dumps(code), f"HTTP code of {host}")

    def _open(self, sealed: str, about: str) -> list[Any]:
        """What was sealed here, and so has the form that it had."""
        try:
            fields: list[Any] = json.loads(self._vault.open(sealed, about))
        except DataLoss:
            raise _unknown() from None
        return fields

    def _now(self) -> int:
        return _seconds(self._clock())


def no_url(host: str) -> NotFound:
    """The error for a host that leads nowhere, or to a session of which the caller may not know."""
    return NotFound(
        f"nothing is served at {host}: check its spelling, and that the session is yours or shared with you"
    )


def _unknown() -> Unauthenticated:
    return Unauthenticated("log in first", reason="LOG_IN")


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
