"""Heads of requests and answers: parsed by h11, refused if ambiguous, and written in one form.

What a head means decides whose session gets the bytes after it. So whatever two programs could read in two ways is
refused, and an app reads what is written here, never the client's own bytes.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import h11

if TYPE_CHECKING:
    from collections.abc import Iterable

    Headers = list[tuple[bytes, bytes]]

LIMIT: Final = 64 * 1024
"""Maximum size of a head in bytes."""
END: Final = b"\r\n\r\n"
_ONCE: Final = (b"host", b"content-length", b"transfer-encoding")
_HOP: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})
_FRAMING: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"trailer"})
"""Never removed, whatever Connection names."""
_OF_BODY: Final = frozenset({b"content-length", b"transfer-encoding", b"expect", b"trailer"})
_FOLDED: Final = re.compile(rb"\r\n[ \t]")
_SPACED: Final = re.compile(rb"\r\n[^:\r\n]*[ \t]:")
_NO_BODY: Final = frozenset({204, 304})
_SWITCHING: Final = 101
_FIRST_FINAL: Final = 200
_BAD, _TOO_LARGE, _NOT_IMPLEMENTED, _VERSION = 400, 431, 501, 505


class HeadError(Exception):
    """A head that is refused: the status to answer, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


@dataclass(slots=True)
class Framing:
    """Where a body ends: after `length` bytes, by its chunks, or, if neither is known, with the connection."""

    length: int | None = 0
    chunked: bool = False


@dataclass(slots=True)
class RequestHead:
    """A request without its body. Names of headers are in lower case."""

    method: str
    target: str
    """The path with its query, as it was sent."""
    version: bytes
    headers: Headers
    host: str
    """In lower case, without a port."""
    framing: Framing
    upgrade: bool
    """Whether it asks for another protocol, such as a WebSocket."""

    def get(self, name: bytes) -> str:
        """The value of a header; several are joined with commas, and none is ''."""
        return ", ".join(value.decode("latin-1") for each, value in self.headers if each == name)

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent twice, and is no more than its head."""
        bare = not self.upgrade and not any(name in _OF_BODY for name, _ in self.headers)
        return bare and self.method == "GET" and self.version == b"1.1"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(slots=True)
class AnswerHead:
    """An answer without its body."""

    status: int
    reason: bytes
    headers: Headers
    framing: Framing = field(default_factory=Framing)
    keeps_connection: bool = False
    """Whether another request may follow on its connection, if it ends before that."""

    @property
    def is_interim(self) -> bool:
        """Whether another answer follows, as after 100 Continue."""
        return self.status < _FIRST_FINAL and self.status != _SWITCHING

    @property
    def switches(self) -> bool:
        """Whether the bytes after it are of another protocol."""
        return self.status == _SWITCHING


def parse_request(head: bytes) -> RequestHead:
    """Parses a head up to and with its empty line. Raises HeadError."""
    _require_unambiguous(head)
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise HeadError(error.error_status_hint, f"the request is malformed: {error}") from None
    if not isinstance(event, h11.Request):
        raise HeadError(_BAD, "the request is malformed")
    version = bytes(event.http_version)
    if version not in {b"1.0", b"1.1"}:
        raise HeadError(_VERSION, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    target, headers = event.target.decode("latin-1"), [(bytes(name), bytes(value)) for name, value in event.headers]
    if not target.startswith("/"):
        raise HeadError(_BAD, "the target of a request is a path that begins with /")
    names = {name for name, _ in headers}
    if b"host" not in names:
        raise HeadError(_BAD, "the request has no Host")
    if b"transfer-encoding" in names and (b"content-length" in names or version == b"1.0"):
        raise HeadError(_BAD, "the request has Transfer-Encoding where that is ambiguous")
    tokens = _connection_tokens(headers)
    return RequestHead(
        event.method.decode("ascii"),
        target,
        version,
        headers,
        _host(dict(headers)[b"host"]),
        _framing(headers, Framing()),
        b"upgrade" in tokens and b"upgrade" in names and version == b"1.1",
    )


def parse_answer(head: bytes, request: RequestHead) -> AnswerHead:
    """Parses the head of an app's answer. Raises HeadError."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
    connection.send(_asked(request.method, request.get(b"upgrade") if request.upgrade else ""))
    connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise HeadError(_BAD, str(error)) from None
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        raise HeadError(_BAD, "it is no HTTP")
    answer = AnswerHead(
        event.status_code, bytes(event.reason), [(bytes(name), bytes(value)) for name, value in event.headers]
    )
    if answer.switches and not request.upgrade:
        raise HeadError(_BAD, "it switches to a protocol that the request did not ask for")
    if request.method != "HEAD" and answer.status >= _FIRST_FINAL and answer.status not in _NO_BODY:
        answer.framing = _framing(answer.headers, Framing(None))
    names = {name for name, _ in answer.headers}
    twice = {b"content-length", b"transfer-encoding"} <= names
    closes = b"close" in _connection_tokens(answer.headers) or bytes(event.http_version) != b"1.1"
    answer.keeps_connection = not (twice or closes or answer.switches)
    return answer


@functools.lru_cache
def _asked(method: str, upgrade: str) -> h11.Request:
    """What h11 has to know of a request to read its answer."""
    upgrades = [(b"connection", b"upgrade"), (b"upgrade", upgrade.encode("latin-1"))] if upgrade else []
    return h11.Request(method=method, target="/", headers=[(b"host", b"app"), *upgrades])


def request_bytes(
    request: RequestHead, added: Iterable[tuple[bytes, bytes]], removed: frozenset[bytes], *, keep: bool = False
) -> bytes:
    """The head for an app: the last request for its connection, unless that is to be kept, or it upgrades."""
    kept = [header for header in _end_to_end(request.headers) if header[0] not in removed]
    if b"trailers" in {token.strip().lower() for token in request.get(b"te").encode("latin-1").split(b",")}:
        kept.append((b"te", b"trailers"))
    if request.upgrade:
        kept += [(b"connection", b"Upgrade"), (b"upgrade", request.get(b"upgrade").encode("latin-1"))]
    elif not keep:
        kept.append((b"connection", b"close"))
    line = b"%b %b HTTP/%b" % (request.method.encode(), request.target.encode("latin-1"), request.version)
    return _written(line, [*kept, *added])


def answer_bytes(answer: AnswerHead) -> bytes:
    """The head for a client, whose connection ends with this answer."""
    kept = _end_to_end(answer.headers)
    if answer.switches:
        kept += [(b"connection", b"Upgrade"), *(header for header in answer.headers if header[0] == b"upgrade")]
    elif not answer.is_interim:
        kept.append((b"connection", b"close"))
    return _written(b"HTTP/1.1 %d %b" % (answer.status, answer.reason), kept)


def _require_unambiguous(head: bytes) -> None:
    bare = head.replace(b"\r\n", b"")
    if b"\n" in bare or b"\r" in bare:
        raise HeadError(_BAD, "the lines of a request end with CR LF")
    if _FOLDED.search(head):
        raise HeadError(_BAD, "a header of the request is folded over several lines")
    if _SPACED.search(head):
        raise HeadError(_BAD, "a header of the request has a space before its colon")
    names = Counter(line.partition(b":")[0].strip().lower() for line in head.split(b"\r\n")[1:])
    for name in _ONCE:
        if names[name] > 1:
            raise HeadError(_BAD, f"the request has {names[name]} headers {name.decode()}")


def _framing(headers: Headers, without: Framing) -> Framing:
    for name, value in headers:
        if name == b"transfer-encoding":
            return Framing(None, chunked=value.lower() == b"chunked")
    for name, value in headers:
        if name == b"content-length":
            return Framing(int(value))
    return without


def _host(value: bytes) -> str:
    host = value.decode("latin-1").lower()
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).removesuffix(".")


def _connection_tokens(headers: Headers) -> set[bytes]:
    return {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}


def _end_to_end(headers: Headers) -> Headers:
    dropped = (_HOP | _connection_tokens(headers)) - _FRAMING
    return [header for header in headers if header[0] not in dropped]


def _written(line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"%b\r\n%b\r\n" % (line, b"".join(b"%b: %b\r\n" % header for header in headers))
