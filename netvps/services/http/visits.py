"""Decides who may open which URL, and logs browsers in.

A browser has a cookie per host, so that no app gets one that is good elsewhere: the host of logins has its own, for
which it issues codes, and each other host exchanges a code for its cookie. A cookie is sealed for one host. It is not
stored: it ends with its time, its user, or the API key that it was made with.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import astuple, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from netvps.domain.access.accounts import Caller, Credential, Scope, User
from netvps.domain.access.sharing import Right
from netvps.domain.http.stored import LINK_PREFIX, Audience, StoredUrl, url_key
from netvps.domain.session.session import ChangeCause, DesiredState, Session
from netvps.domain.sleep.waking import LoginEffect
from netvps.errors import DataLoss, Exhausted, NotFound, Unauthenticated
from netvps.services.access.logins import SessionRef, ref_to
from netvps.services.access.tokens import API, Token
from netvps.services.sessions.scope import permitted_session

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.http.site import Site
    from netvps.services.access.accounts import Access
    from netvps.services.ports import Clock, Reader, Store, Vault

LOGIN_TIME: Final = timedelta(hours=24)
"""After which a browser logs in again."""
LINK_ENDED: Final = "LINK_ENDED"
"""The reason of an error about a link."""
_CODE_SECONDS: Final = 60
_CODES: Final = 10_000
"""Maximum codes that are remembered as used."""


@dataclass(frozen=True, slots=True)
class AdmittedRequest:
    """A request that may pass."""

    session: SessionRef
    port: int
    user: str
    """Or the id of a link; '' if the port is public."""

    @property
    def is_guest(self) -> bool:
        """Whether nothing is known of who sent it, who learns nothing of the session."""
        return not self.user or self.user.startswith(LINK_PREFIX)


@dataclass(frozen=True, slots=True)
class _Target:
    """What a host leads to."""

    session: Session | None
    port: int = 0
    url: StoredUrl | None = None
    """What is stored of it, unless that has ended."""


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
    link: str = ""
    """The key of the link that it is of, in the place of a user."""


class Visits:
    """Authorises requests at hosts of a site."""

    def __init__(self, store: Store, clock: Clock, access: Access, vault: Vault, site: Site) -> None:
        self._store, self._clock, self._access = store, clock, access
        self._vault = vault
        self.site = site
        self._used: dict[str, int] = {}
        """Codes that were used, with their ends."""

    async def visit(self, host: str, cookie: str, api_key: str) -> AdmittedRequest:
        """Admits a request at a host, by an API key or, if that is '', by a cookie; a public one without either.

        Raises Unauthenticated for whoever is not known, whatever the host; NotFound with one message for what does not
        exist and what the caller may not know of; NotPermitted if it is shared with them, but not for that.
        """
        async with self._store.read() as reader:
            target = await self._target(reader, host)
        session, url = target.session, target.url
        if session is not None and url is not None and url.audience is Audience.PUBLIC:
            return AdmittedRequest(_ref_for_anyone(session), target.port, "")
        if api_key:
            caller = await self._access.authenticate(api_key)
        else:
            login = self._login(cookie, host)
            if login.link:
                return await self._by_link(target, login.link)
            caller = await self._caller(login)
        if session is None:
            raise no_url(host)
        if url is None or not url.admits(caller.user):
            async with self._store.read() as reader:
                try:
                    await permitted_session(reader, caller, session.full_name, Right.LOGIN, self._clock())
                except NotFound:
                    raise no_url(host) from None
        return AdmittedRequest(ref_to(session), target.port, caller.user)

    async def _target(self, reader: Reader, host: str) -> _Target:
        """What a host leads to now; with the same reads whether a session exists or not."""
        place = self.site.place_of(host)
        if place is None:
            url = await reader.get(StoredUrl, host)
            if url is None or url.has_ended(self._clock()):
                return _Target(None)
            return _Target(await reader.get(Session, url.session), url.port, url)
        found = await reader.find(Session, owner=place.session.owner, name=place.session.name)
        url = await reader.get(StoredUrl, url_key(found[0].uid if found else "", str(place.port)))
        if url is not None and url.has_ended(self._clock()):
            url = None
        return _Target(found[0] if found else None, place.port, url)

    async def _by_link(self, target: _Target, key: str) -> AdmittedRequest:
        async with self._store.read() as reader:
            link = await reader.get(StoredUrl, key)
        session = target.session
        if session is None or link is None or link.has_ended(self._clock()) or link.port != target.port:
            raise _ended_link()
        return AdmittedRequest(ref_to(session), target.port, link.name)

    def link(self, link: StoredUrl, host: str) -> str:
        """The secret URL of a stored link, at the host of its port."""
        return f"{self.site.url(host)}/.netvps/link?key={quote(self._vault.seal(link.key, f'HTTP link of {host}'), '')}"

    async def enter_by_link(self, host: str, sealed: str) -> str:
        """Exchanges the secret of a link for the cookie of its host. Raises Unauthenticated."""
        try:
            key = self._vault.open(sealed, f"HTTP link of {host}")
        except DataLoss:
            raise _ended_link() from None
        async with self._store.read() as reader:
            link = await reader.get(StoredUrl, key)
        if link is None or link.expire_time is None or link.has_ended(self._clock()):
            raise _ended_link()
        return self._cookie(_Login("", 0, "", _seconds(link.expire_time), key), host)

    async def log_in(self, api_key: str) -> str:
        """The cookie of the host of logins for an API key. Raises Unauthenticated."""
        caller, token = await self._access.authenticate(api_key), Token.parse(api_key, API)
        return self._cookie(await self._new_login(caller.user, token.kid if token else ""), self.site.login_host)

    async def user_of(self, cookie: str) -> str:
        """The user who is logged in at the host of logins. Raises Unauthenticated."""
        return (await self._caller(self._login(cookie, self.site.login_host))).user

    async def code(self, cookie: str, host: str) -> str:
        """A code for one login at a host, by the cookie of the host of logins.

        Raises Unauthenticated, and NotFound for a host that cannot lead anywhere: it would get the code.
        """
        login = self._login(cookie, self.site.login_host)
        await self._caller(login)
        if self.site.place_of(host) is None:
            async with self._store.read() as reader:
                if (await self._target(reader, host)).session is None:
                    raise no_url(host)
        return self._code(login, host)

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

    async def _caller(self, login: _Login) -> Caller:
        """The user of a cookie now. Raises Unauthenticated."""
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


def _ref_for_anyone(session: Session) -> SessionRef:
    """For requests that no user sends: they undo what no person stopped or paused, and learn nothing of it."""
    ref, by_person = ref_to(session), session.desired_by.cause is ChangeCause.PERSON
    if by_person and session.desired in {DesiredState.STOPPED, DesiredState.PAUSED}:
        ref = replace(ref, effect=LoginEffect.REFUSED)
    return replace(ref, message="")


def _ended_link() -> Unauthenticated:
    return Unauthenticated("this link has ended: ask whoever gave it to you for another one", reason=LINK_ENDED)


def _unknown() -> Unauthenticated:
    return Unauthenticated("log in first", reason="LOG_IN")


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
