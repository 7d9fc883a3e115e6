"""Messages between an agent and the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

INITIAL_CREDIT = 1 << 20
"""Bytes that each side may send before it receives the first credit."""
NOTHING_LISTENS = "NOTHING_LISTENS"
"""The reason of the error of a dial to a port on which nothing listens."""
SSH_PORT = 22
"""Port of the agent's SSH server on the session's address."""
MAX_DATA = 256 * 1024
"""Maximum size of a data frame in bytes."""


@dataclass(frozen=True, slots=True)
class AgentHello:
    """The first message of an agent; `host_key` is in OpenSSH form."""

    session_uid: str
    epoch: int
    version: str
    host_key: str
    direct: bool = False
    """Whether it can answer a dial with a direct connection."""
    resumable: bool = False
    """Whether it keeps connections that nothing carries."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The configuration of an agent; keys and certificate are in OpenSSH form."""

    generation: int
    authorized_keys: tuple[str, ...]
    user_ca_keys: tuple[str, ...]
    host_certificate: str
    user_principals: tuple[str, ...] = ()
    """Principals of people's certificates that log in."""


@dataclass(frozen=True, slots=True)
class SshTarget:
    """The agent's SSH server."""


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """A TCP port as seen from inside the session: "HOST:PORT"."""

    address: str


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """The absolute path of a Unix socket inside the session."""

    path: str


@dataclass(frozen=True, slots=True)
class ResumableTarget:
    """The agent's SSH server, on a connection of a user that the agent keeps while nothing carries it."""

    user: str
    attachment: bytes
    """Of the client (netvps/domain/resumable.py)."""


@dataclass(frozen=True, slots=True)
class PortTarget:
    """A TCP port of the session itself, on loopback, for HTTP."""

    port: int
    counted: bool = True
    """Whether it keeps the session awake."""


DialTarget = SshTarget | TcpTarget | UnixTarget | ResumableTarget | PortTarget


@dataclass(frozen=True, slots=True)
class DialRequest:
    """Asks an agent to open a connection."""

    dial_id: str
    target: DialTarget
    origin: str
    direct: bool = False
    """Whether a direct connection is asked for; a DialBack stream is an answer, too."""


@dataclass(frozen=True, slots=True)
class DialFailure:
    """An agent could not connect."""

    dial_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Activity:
    """What an agent knows of the activity in its session. Times are None if there was none since it started."""

    channels: int
    """Open SSH channels, forwards included."""
    terminals: int
    last_byte_time: datetime | None
    """Of all channels, in either direction."""
    forwards: int = 0
    last_input_time: datetime | None = None
    """Of input on a terminal."""
    last_forward_time: datetime | None = None
    """Of a byte on a forward."""
    cpus: float | None = None
    """Busy CPUs, on average over the last minute; None if it cannot be read."""
    busy_time: datetime | None = None
    """When that last was at least the floor."""


class SelfServiceKind(StrEnum):
    """What a program in a session asks for, with `nv`."""

    KEEP = "KEEP"
    SLEEP = "SLEEP"
    SNAPSHOT = "SNAPSHOT"
    STATUS = "STATUS"


@dataclass(frozen=True, slots=True)
class SelfService:
    """A request from inside a session about itself; the answer has the same id. `seconds` belongs to KEEP."""

    id: str
    kind: SelfServiceKind
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SelfServiceAnswer:
    """The answer, as text for a terminal; `failed` if it was refused."""

    id: str
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class SleepNotice:
    """What an agent tells people in its session: on login, and, if not '', on open terminals now."""

    greeting: str
    warning: str = ""
    cpu_floor: float = 0.0
    """CPUs from which on the use counts as activity."""


@dataclass(frozen=True, slots=True)
class ConfigApplied:
    """The agent applied the config of this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The gateway is about to stop."""


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a connection."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Credit:
    """The receiver forwarded this many bytes; the sender may send as many more."""

    size: int


@dataclass(frozen=True, slots=True)
class Eof:
    """No more data from this side."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection was aborted."""

    reason: str


FromAgent = DialFailure | Activity | ConfigApplied | SelfService
ToAgent = AgentConfig | DialRequest | Drain | SelfServiceAnswer | SleepNotice
Frame = Data | Credit | Eof | Reset
