"""Messages between an agent and the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

INITIAL_CREDIT = 1 << 20
"""Bytes that each side may send before it receives the first credit."""
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


DialTarget = SshTarget | TcpTarget | UnixTarget


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
    """SSH activity in a session."""

    channels: int
    terminals: int
    last_byte_time: datetime | None


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


FromAgent = DialFailure | Activity | ConfigApplied
ToAgent = AgentConfig | DialRequest | Drain
Frame = Data | Credit | Eof | Reset
