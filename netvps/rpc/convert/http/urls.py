"""URLs of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.api.v1 import url_pb2 as pb
from netvps.domain.checks import Checks, shown
from netvps.domain.http.site import MAIN_PORT, MAX_PORT, Place, Url, is_host
from netvps.domain.http.stored import LINK_PREFIX, Audience, NamedUrl, StoredUrl
from netvps.domain.names import USER_NAME_MAX, SessionName, check_label
from netvps.errors import InvalidInput
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.names import parse_session_name, session_name
from netvps.rpc.convert.times import optional_time_from_proto, time_from_proto, time_to_proto

if TYPE_CHECKING:
    from datetime import datetime

AUDIENCE = EnumPair(Audience, pb.UrlAudience, "URL_AUDIENCE_")
_URL = "/urls/"
_MAIN = "main"


@dataclass(frozen=True, slots=True)
class UpdateUrl:
    """The URL that is wanted: `session` is NAME or NAME.OWNER; `name` is a host of its own, or ''."""

    session: str
    port: int
    name: str
    audience: Audience
    users: tuple[str, ...]
    expire_time: datetime | None
    request_id: str


def url_name(session: str, id_: int | str | None) -> str:
    """The resource name for a session (NAME or NAME.OWNER) and a port, a host or a link; None is its main port."""
    return f"{session_name(session)}{_URL}{id_ or _MAIN}"


def parse_url_name(text: str, field: str = "name") -> tuple[str, int]:
    """Parses "sessions/NAME[.OWNER]/urls/PORT" into the session and the port. Raises InvalidInput."""
    session, port = _split(text, field)
    return session, _port(port, field)


def parse_stored_url_name(text: str, field: str = "name") -> tuple[str, str]:
    """Parses "sessions/NAME[.OWNER]/urls/ID" into the session and the id, a port, a host or a link's.

    Raises InvalidInput.
    """
    session, id_ = _split(text, field)
    if is_host(id_) and ("." in id_ or id_.startswith(LINK_PREFIX)):
        return session, id_
    return session, str(_port(id_, field))


def update_from_proto(message: pb.UpdateUrlRequest) -> UpdateUrl:
    """Parses the request. Raises InvalidInput."""
    checks, session, id_, audience, end = Checks(), "", "", Audience.PRIVATE, None
    with checks.nested():
        session, id_ = _split(message.url.name, "url.name")
    own = "" if not id_ or id_.isdigit() or id_ == _MAIN else id_
    port = message.url.port
    checks.require(
        bool(own) or not port or id_ in {_MAIN, str(port)}, "url.port", f"{port} is not the port of the name"
    )
    with checks.nested("url"):
        port = _port(str(port), "port") if own or port else _port(id_, "name")
    with checks.nested("url"):
        audience = AUDIENCE.from_proto(message.url.audience, "audience", unspecified=Audience.PRIVATE)
    with checks.nested("url"):
        for user in message.url.users:
            check_label(user, "users", USER_NAME_MAX)
    with checks.nested("url"):
        end = optional_time_from_proto(message.url, "expire_time")
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return UpdateUrl(session, port, own, audience, tuple(message.url.users), end, message.request_id)


def url_to_proto(url: Url) -> pb.Url:
    """Converts what is not stored."""
    place = url.place
    return pb.Url(
        name=url_name(str(place.session), place.port), uri=url.uri, port=place.port, audience=pb.URL_AUDIENCE_PRIVATE
    )


def url_from_proto(message: pb.Url) -> Url:
    """Parses what is not stored. Raises InvalidInput."""
    session, port = parse_url_name(message.name)
    return Url(Place(SessionName.parse(session, ""), port), message.uri)


def stored_url_to_proto(named: NamedUrl) -> pb.Url:
    """Converts all fields."""
    url = named.url
    return pb.Url(
        name=url_name(str(named.session), url.id),
        uri=named.uri,
        port=url.port,
        audience=AUDIENCE.to_proto(url.audience),
        users=url.users,
        expire_time=time_to_proto(url.expire_time) if url.expire_time else None,
        create_time=time_to_proto(url.create_time),
        revision=url.revision,
    )


def stored_url_from_proto(message: pb.Url) -> NamedUrl:
    """Parses a stored URL as a client sees it: without the uid of the session. Raises InvalidInput."""
    session, id_ = parse_stored_url_name(message.name)
    full_name, audience = SessionName.parse(session, ""), AUDIENCE.from_proto(message.audience, "audience")
    created, end = time_from_proto(message, "create_time"), optional_time_from_proto(message, "expire_time")
    name = "" if id_ == str(message.port) else id_
    url = StoredUrl(
        "", full_name.owner, message.port, audience, created, name, tuple(message.users), end, message.revision
    )
    return NamedUrl(url, full_name, message.uri)


def _split(text: str, field: str) -> tuple[str, str]:
    session, found, id_ = text.partition(_URL)
    if not found:
        raise InvalidInput.of(field, f"{shown(text)} is not of the form sessions/NAME.OWNER/urls/PORT")
    return parse_session_name(session, field), id_


def _port(text: str, field: str) -> int:
    number = MAIN_PORT if text == _MAIN else 0
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)):
        number = int(text)
    if not 0 < number <= MAX_PORT:
        raise InvalidInput.of(field, f"{shown(text)} is no port: give 1 to {MAX_PORT}, or {_MAIN}")
    return number
