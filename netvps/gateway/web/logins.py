"""Who is logged in, in memory: cookies, one-use links, and their ends. A restart ends all of them."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from netvps.errors import Exhausted, NetvpsError, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from netvps.domain.session.exec import ExecStart, FromCommand, ToCommand

LOGIN_SECONDS: Final = 24 * 3600.0
"""A login ends after this long, whatever happens in it."""
IDLE_SECONDS: Final = 4 * 3600.0
"""A login without a request and without any input for this long ends; so does a viewer."""
LOGIN_ENDED: Final = 4001
"""Close code of a WebSocket whose login is over; the page asks to log in again."""
LINK_SECONDS: Final = 120.0
LOGINS: Final = 1000
LOGINS_PER_USER: Final = 20
LINKS: Final = 100
VIEWERS: Final = 100
"""Maximum viewers: each has a process of 20 MB beyond what they share."""
VIEWERS_PER_USER: Final = 8
_KEY: Final = re.compile(r"nv_[0-9a-f]{12}_[0-9a-f]{64}")


class Account(Protocol):
    """A person's connection to the server, with their own credential."""

    @property
    def user(self) -> str:
        """Their name."""

    @property
    def credential(self) -> str:
        """For the process that shows the terminal UI."""

    async def check(self) -> None:
        """Asks the server whether the credential is still good. Raises NetvpsError."""

    def exec(self, start: ExecStart, incoming: AsyncIterator[ToCommand]) -> AsyncGenerator[FromCommand, None]:
        """Runs a command in a session."""

    async def close(self) -> None:
        """Ends the connection, and a credential that was made for it."""


class Accounts(Protocol):
    """The server, as people reach it."""

    async def of_key(self, api_key: str) -> Account:
        """Logs in with an API key. Raises Unauthenticated, Unavailable."""

    async def own(self) -> Account:
        """Logs in as whoever started this program. Raises NetvpsError."""


class Viewer(Protocol):
    """A page that shows the terminal UI."""

    def end(self, code: int, reason: str) -> None:
        """Ends it, with a code and words for the page."""


@dataclass(slots=True, eq=False)
class Login:
    """A person in a browser."""

    account: Account
    clock: Callable[[], float]
    begun: float
    used: float
    viewers: set[Viewer] = field(default_factory=set)

    def touch(self) -> float:
        """Notes a use now, and returns the time."""
        self.used = self.clock()
        return self.used


class Logins:
    """All logins. `clock` is in seconds and never goes back."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float]) -> None:
        self._accounts, self._clock = accounts, clock
        self._logins: dict[str, Login] = {}
        """By a hash of the cookie, so that looking one up takes the same time for any wrong one."""
        self._links: dict[str, float] = {}
        """When each one-use link ends, by a hash of its token."""

    def __len__(self) -> int:
        return len(self._logins)

    async def with_key(self, api_key: str) -> tuple[str, Login]:
        """A login by an API key, and its cookie. Raises Unauthenticated, Unavailable, Exhausted."""
        if not _KEY.fullmatch(api_key):  # never sent: without a credential, a local server takes this program's account
            raise Unauthenticated("this is no API key: it begins with nv_; `netvps user api-key` makes one")
        return await self._enter(self._accounts.of_key(api_key))

    async def with_link(self, token: str) -> tuple[str, Login]:
        """A login by a one-use link, and its cookie. Raises as with_key."""
        end = self._links.pop(_hash(token), None)
        if end is None or self._clock() > end:
            raise Unauthenticated("this link was used already, or is too old: `netvps web --open` prints a new one")
        return await self._enter(self._accounts.own())

    def new_link(self) -> str:
        """A token that logs in once, within LINK_SECONDS, as whoever started this program. Raises Exhausted."""
        now = self._clock()
        self._links = {token: end for token, end in self._links.items() if end >= now}
        if len(self._links) >= LINKS:
            raise Exhausted(f"{LINKS} links wait to be used: use one, or try again in two minutes")
        token = secrets.token_urlsafe(32)
        self._links[_hash(token)] = now + LINK_SECONDS
        return token

    def find(self, cookie: str) -> Login | None:
        """The login of a cookie, which counts as a use of it; None if there is none any more."""
        login = self._logins.get(_hash(cookie))
        if login is None or self._expired(login):
            return None
        login.touch()
        return login

    def admit(self, login: Login, viewer: Viewer) -> str | None:
        """Adds a viewer; or why one more is not admitted."""
        mine = sum(len(other.viewers) for other in self._logins.values() if other.account.user == login.account.user)
        if mine >= VIEWERS_PER_USER:
            return f"you have {VIEWERS_PER_USER} terminal UIs open already: close some"
        if sum(len(other.viewers) for other in self._logins.values()) >= VIEWERS:
            return f"{VIEWERS} terminal UIs are open already: try again later, or use the netvps command"
        login.viewers.add(viewer)
        return None

    async def end(self, cookie: str) -> None:
        """Logs out. Idempotent."""
        await self._end(_hash(cookie), "you logged out")

    async def review(self) -> None:
        """Ends what is over: too old, unused, or with a credential that the server does not take any more."""
        for key, login in [*self._logins.items()]:
            if reason := self._expired(login):
                await self._end(key, reason)
        for key, login in [*self._logins.items()]:
            if not login.viewers:
                continue
            try:
                await login.account.check()
            except Unauthenticated as error:
                await self._end(key, error.message)
            except NetvpsError:  # the server is away: viewers show that by themselves
                return

    async def close(self) -> None:
        """Ends all."""
        logins, self._logins = self._logins, {}
        await asyncio.gather(*(_end(login, "the server of this page was stopped") for login in logins.values()))

    async def _enter(self, opening: Awaitable[Account]) -> tuple[str, Login]:
        account = await opening
        try:
            await self._make_room(account.user)
        except BaseException:
            await account.close()
            raise
        now = self._clock()
        cookie, login = secrets.token_urlsafe(32), Login(account, self._clock, now, now)
        self._logins[_hash(cookie)] = login
        return cookie, login

    async def _make_room(self, user: str) -> None:
        """Ends the least recently used login of a user who has many. Raises Exhausted."""
        counts = Counter(login.account.user for login in self._logins.values())
        if counts[user] >= LOGINS_PER_USER:
            own = {key: login for key, login in self._logins.items() if login.account.user == user}
            key = min(own, key=lambda each: own[each].used)
            await self._end(key, f"you logged in {LOGINS_PER_USER} times since: the oldest login ended")
        elif len(self._logins) >= LOGINS:
            raise Exhausted(f"{LOGINS} people are logged in already: try again later")

    async def _end(self, key: str, reason: str) -> None:
        login = self._logins.pop(key, None)
        if login is not None:
            await _end(login, reason)

    def _expired(self, login: Login) -> str | None:
        now = self._clock()
        if now - login.begun > LOGIN_SECONDS:
            return "your login ended after a day: log in again"
        if now - login.used > IDLE_SECONDS:
            return "your login ended: it was not used for hours"
        return None


async def _end(login: Login, reason: str) -> None:
    for viewer in [*login.viewers]:
        viewer.end(LOGIN_ENDED, reason)
    login.viewers.clear()
    await login.account.close()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
