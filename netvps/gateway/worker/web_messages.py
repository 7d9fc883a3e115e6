"""The messages of wire.py about HTTP requests, and the answers of the control plane to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.errors import InternalError

if TYPE_CHECKING:
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
class HttpCount:
    """Number of open HTTP connections of a gateway process."""

    connections: int


WebMessage = Visit | Visited | WebLogin | WebLogged | DialPort | UrlsChanged | HttpCount


async def answer_visit(visits: Visits, asked: Visit) -> Visited:
    """Whether a request may pass. Raises NetvpsError."""
    found = await visits.visit(asked.host, asked.cookie, asked.key)
    of = found.session
    state = (of.uid, of.name, of.owner, of.state, of.effect, of.message)
    return Visited(asked.id, *state, found.port, found.user)


async def answer_login(visits: Visits, asked: WebLogin) -> WebLogged:
    """The result of a step of a login. Raises NetvpsError."""
    match asked.step:
        case "log_in":
            result = await visits.log_in(asked.given)
        case "user_of":
            result = await visits.user_of(asked.given)
        case "code":
            result = await visits.code(asked.given, asked.host)
        case "enter":
            result = await visits.enter(asked.host, asked.given)
        case "enter_by_link":
            result = await visits.enter_by_link(asked.host, asked.given)
        case _:
            raise InternalError(f"{asked.step} is no step of a login")
    return WebLogged(asked.id, result)
