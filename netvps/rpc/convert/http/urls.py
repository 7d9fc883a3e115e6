"""URLs of sessions."""

from __future__ import annotations

from netvps.api.v1 import url_pb2 as pb
from netvps.domain.checks import shown
from netvps.domain.http.site import MAIN_PORT, Place, Url
from netvps.domain.names import SessionName
from netvps.errors import InvalidInput
from netvps.rpc.convert.names import parse_session_name, session_name

_URL = "/urls/"
_MAIN = "main"
_MAX_PORT = 65_535


def url_name(session: str, port: int | None) -> str:
    """The resource name for a session (NAME or NAME.OWNER) and a port; None is its main port."""
    return f"{session_name(session)}{_URL}{port or _MAIN}"


def parse_url_name(text: str, field: str = "name") -> tuple[str, int]:
    """Parses "sessions/NAME[.OWNER]/urls/PORT" into the session and the port. Raises InvalidInput."""
    session, found, port = text.partition(_URL)
    if not found:
        raise InvalidInput.of(field, f"{shown(text)} is not of the form sessions/NAME.OWNER/urls/PORT")
    if port != _MAIN and not (port.isascii() and port.isdigit() and len(port) <= len(str(_MAX_PORT))):
        raise InvalidInput.of(field, f"{shown(port)} is no port: give 1 to {_MAX_PORT}, or {_MAIN}")
    number = MAIN_PORT if port == _MAIN else int(port)
    if not 0 < number <= _MAX_PORT:
        raise InvalidInput.of(field, f"{shown(port)} is no port: give 1 to {_MAX_PORT}, or {_MAIN}")
    return parse_session_name(session, field), number


def url_to_proto(url: Url) -> pb.Url:
    """Converts all fields."""
    return pb.Url(name=url_name(str(url.place.session), url.place.port), uri=url.uri)


def url_from_proto(message: pb.Url) -> Url:
    """Converts all fields. Raises InvalidInput."""
    session, port = parse_url_name(message.name)
    return Url(Place(SessionName.parse(session, ""), port), message.uri)
