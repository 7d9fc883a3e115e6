"""Messages between a gateway process and the control plane on their private socket, as values and as bytes.

A connection starts with Control, Dial, DialPort or Browse. Control is for requests, which have ids, their answers, and
notifications in both directions. The others get one answer, Opened or Failed; all bytes after Opened belong to the
session, or are SFTP.

A message is a big-endian length of four bytes, then a JSON object: "type", and the fields of that class. Both ends are
of the same installation, so any deviation is an error.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

from netvps.errors import NetvpsError
from netvps.gateway.worker.web_messages import IsServed, Visit, WebLogin, WebMessage

LIMIT: Final = 64 * 1024
"""Maximum size of a message in bytes."""
_LENGTH: Final = struct.Struct("!I")


class WireError(NetvpsError):
    """An invalid message: a bug, or another program at the socket."""


@dataclass(frozen=True, slots=True)
class Control:
    """The first message of a gateway process."""

    pid: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer: keys in OpenSSH form (the host key's private part in PEM), and limits of connections."""

    host_key: str
    host_ca: str
    user_ca: str
    connections_per_user: int
    connections_per_session: int
    api_socket: str
    """For terminal UIs; empty if there are none."""
    balancers: tuple[str, ...] = ()
    """Networks in CIDR form, whose connections begin with a PROXY header."""


@dataclass(frozen=True, slots=True)
class Audit:
    """An event for the audit log; names and values of its details alternate."""

    actor: str
    origin: str
    action: str
    target: str
    outcome: str
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Authorize:
    """Asks whether a key opens a session; `owner` is empty if the login names none."""

    id: int
    session: str
    owner: str
    unix_user: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class AuthorizeUser:
    """Asks whether a user with a certificate may log in to a session."""

    id: int
    session: str
    owner: str
    unix_user: str
    user: str


@dataclass(frozen=True, slots=True)
class Granted:
    """The positive answer to both."""

    id: int
    uid: str
    name: str
    owner: str
    state: str
    unix_user: str
    user: str
    effect: str
    """What a login does to it."""
    message: str


@dataclass(frozen=True, slots=True)
class Redeem:
    """Presents a ticket of `netvps ssh-proxy`."""

    id: int
    ticket: str


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What it is for: a user's connection to a session; `attachment` is for its agent, in hexadecimal form."""

    id: int
    session: str
    owner: str
    unix_user: str
    user: str
    attachment: str


@dataclass(frozen=True, slots=True)
class Certify:
    """Asks for a certificate for the gateway's key, for a granted login."""

    id: int
    uid: str
    name: str
    owner: str
    state: str
    unix_user: str
    user: str
    public_key: str


@dataclass(frozen=True, slots=True)
class Certified:
    """The certificate, in OpenSSH form."""

    id: int
    certificate: str


@dataclass(frozen=True, slots=True)
class Locate:
    """Asks for a session's address on the overlay."""

    id: int
    uid: str


@dataclass(frozen=True, slots=True)
class Located:
    """The address, and the local address to connect from; both are empty if the overlay does not lead there."""

    id: int
    source: str
    address: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Wake:
    """Asks to resume or start a session for a granted login, of a LoginKind."""

    id: int
    uid: str
    actor: str
    kind: str


@dataclass(frozen=True, slots=True)
class Woken:
    """It runs, or is being woken."""

    id: int


@dataclass(frozen=True, slots=True)
class Look:
    """Asks for a session's state."""

    id: int
    uid: str


@dataclass(frozen=True, slots=True)
class Looked:
    """The state, the LoginEffect, and what the session says."""

    id: int
    uid: str
    name: str
    owner: str
    state: str
    effect: str
    message: str


@dataclass(frozen=True, slots=True)
class Unwatched:
    """Asks, or answers, which sessions have no agent connected, and so get no AgentConfigured."""

    id: int
    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MintToken:
    """Asks for the credential of a process that shows the terminal UI to a user."""

    id: int
    user: str


@dataclass(frozen=True, slots=True)
class Minted:
    """The credential, which is good until it is revoked or the connection ends."""

    id: int
    token: str


@dataclass(frozen=True, slots=True)
class RevokeToken:
    """A process that showed the terminal UI has ended; no answer."""

    token: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An error instead of an answer."""

    id: int
    error: str
    message: str
    reason: str


@dataclass(frozen=True, slots=True)
class AgentConfigured:
    """A session's agent was sent a new config: its keys may have changed."""

    uid: str


@dataclass(frozen=True, slots=True)
class AccessChanged:
    """What a user ('': everyone) may do may have changed."""

    user: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of connections of a gateway process."""

    connections: int
    unauthenticated: int


@dataclass(frozen=True, slots=True)
class Duration:
    """Duration of a step of netvps.timing."""

    step: str
    which: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Dial:
    """Asks for a connection to a session's SSH server; `origin` is for the agent's log.

    `user` and `attachment` (hexadecimal) are empty unless it is one that the agent keeps.
    """

    uid: str
    origin: str
    user: str = ""
    attachment: str = ""


@dataclass(frozen=True, slots=True)
class Browse:
    """Asks for an SFTP server that shows a session's snapshots to a user; `session` is NAME.OWNER."""

    session: str
    user: str


@dataclass(frozen=True, slots=True)
class Opened:
    """All further bytes belong to the session, or to SFTP."""


Message = (
    Control
    | Welcome
    | Audit
    | Authorize
    | AuthorizeUser
    | Granted
    | Redeem
    | Redeemed
    | Certify
    | Certified
    | Locate
    | Located
    | Wake
    | Woken
    | Look
    | Looked
    | Unwatched
    | MintToken
    | Minted
    | RevokeToken
    | Failed
    | AgentConfigured
    | AccessChanged
    | Counts
    | Duration
    | Dial
    | Browse
    | Opened
    | WebMessage
)
QUESTIONS: Final = (
    Authorize, AuthorizeUser, Redeem, Certify, Locate, Wake, Look, Unwatched, MintToken, Visit, WebLogin, IsServed
)  # fmt: skip
"""Requests of a gateway process."""
TYPES: Final[dict[str, type[Message]]] = {kind.__name__: kind for kind in Message.__args__}
_FIELDS: Final = {name: {field.name: str(field.type) for field in fields(kind)} for name, kind in TYPES.items()}
M = TypeVar("M")


def encode(message: Message) -> bytes:
    """Encodes a message. Raises WireError if it is too long."""
    name = type(message).__name__
    content = {"type": name} | {field: getattr(message, field) for field in _FIELDS[name]}
    text = json.dumps(content, separators=(",", ":")).encode()
    if len(text) > LIMIT:
        raise WireError(f"a message {name} of {len(text)} bytes is too long for the gateway's socket")
    return _LENGTH.pack(len(text)) + text


def decode(text: bytes) -> Message:
    """Decodes the bytes after the length. Raises WireError."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise WireError("not JSON") from None
    if not isinstance(content, dict) or not isinstance(name := content.pop("type", None), str) or name not in TYPES:
        raise WireError("unknown message type")
    expected = _FIELDS[name]
    if content.keys() != expected.keys():
        raise WireError(f"wrong fields of {name}: expected {', '.join(sorted(expected))}")
    return TYPES[name](**{field: _checked(name, field, kind, content[field]) for field, kind in expected.items()})


def _checked(name: str, field: str, kind: str, value: Any) -> Any:
    match kind:
        case "str" if isinstance(value, str):
            return value
        case "int" if type(value) is int:
            return value
        case "bool" if type(value) is bool:
            return value
        case "float" if type(value) in {int, float}:
            return float(value)
        case "tuple[str, ...]" if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
    raise WireError(f"{name}.{field} is no {kind}")


class Decoder:
    """Splits a stream of bytes into messages; bytes after the last one stay in `rest`."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> None:
        """Adds received bytes."""
        self.rest += data

    def next(self) -> Message | None:
        """The next message if it is complete, else None. Raises WireError."""
        if len(self.rest) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self.rest)
        if length > LIMIT:
            raise WireError(f"a message of {length} bytes exceeds the limit of {LIMIT}")
        end = _LENGTH.size + length
        if len(self.rest) < end:
            return None
        text, self.rest = self.rest[_LENGTH.size : end], self.rest[end:]
        return decode(text)
