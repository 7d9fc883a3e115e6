"""The messages of wire.py about HTTP requests, and the answers of the control plane to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.errors import InternalError

if TYPE_CHECKING:
    from netvps.services.http.served_names import ServedNames
    from netvps.services.http.visits import Visits


@dataclass(frozen=True, slots=True)
class Visit:
    """Asks whether an HTTP request at a host may pass; `cookie` and `key` are empty if it has none."""

    id: int
    host: str
    cookie: str
    key: str


@dataclass(frozen=True, slots=True)
class Visited:
    """It may: the session as in Looked, the port there, and the user."""

    id: int
    uid: str
    name: str
    owner: str
    state: str
    effect: str
    message: str
    port: int
    user: str


@dataclass(frozen=True, slots=True)
class WebLogin:
    """Asks for a step of a browser's login: a method of gateway.ports.Visitors, with an API key, a cookie or a code."""

    id: int
    step: str
    given: str
    host: str


@dataclass(frozen=True, slots=True)
class WebLogged:
    """The result of the step."""

    id: int
    result: str


@dataclass(frozen=True, slots=True)
class IsServed:
    """Asks whether something is served at a host; and the answer."""

    id: int
    host: str
    served: bool = False


@dataclass(frozen=True, slots=True)
class DialPort:
    """Asks for a connection to a port of a session; a `probe` does not keep it awake."""

    uid: str
    port: int
    origin: str
    probe: bool


@dataclass(frozen=True, slots=True)
class UrlsChanged:
    """Who may open the ports of a session (uid; '': of all) may have changed."""

    session: str


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A session (uid; '': any) changed, so what was answered about it may be so no more."""

    uid: str


@dataclass(frozen=True, slots=True)
class HttpCount:
    """Number of open HTTP connections of a gateway process."""

    connections: int


WebMessage = Visit | Visited | WebLogin | WebLogged | IsServed | DialPort | UrlsChanged | SessionChanged | HttpCount


@dataclass(frozen=True, slots=True)
class WebAnswers:
    """The control plane's answers."""

    visits: Visits
    names: ServedNames

    async def answer(self, asked: Visit | WebLogin | IsServed) -> Visited | WebLogged | IsServed:
        """The answer to a request. Raises NetvpsError."""
        match asked:
            case Visit():
                return await self._visit(asked)
            case WebLogin():
                return await self._login(asked)
        return IsServed(asked.id, asked.host, self.names.serves(asked.host))

    async def _visit(self, asked: Visit) -> Visited:
        found = await self.visits.visit(asked.host, asked.cookie, asked.key)
        of = found.session
        state = (of.uid, of.name, of.owner, of.state, of.effect, of.message)
        return Visited(asked.id, *state, found.port, found.user)

    async def _login(self, asked: WebLogin) -> WebLogged:
        match asked.step:
            case "log_in":
                result = await self.visits.log_in(asked.given)
            case "user_of":
                result = await self.visits.user_of(asked.given)
            case "code":
                result = await self.visits.code(asked.given, asked.host)
            case "enter":
                result = await self.visits.enter(asked.host, asked.given)
            case "enter_by_link":
                result = await self.visits.enter_by_link(asked.host, asked.given)
            case _:
                raise InternalError(f"{asked.step} is no step of a login")
        return WebLogged(asked.id, result)
