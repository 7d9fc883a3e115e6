"""What passes between an agent and the gateway, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

INITIAL_CREDIT = 1 << 20
"""Bytes that each side may send before the first credit."""
SSH_PORT = 22
"""Of the agent's SSH server, on the session's own address."""
MAX_DATA = 256 * 1024
"""Bytes of the largest data frame."""


@dataclass(frozen=True, slots=True)
class AgentHello:
    """How an agent introduces itself; `host_key` in OpenSSH form."""

    session_uid: str
    epoch: int
    version: str
    host_key: str


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What an agent goes by; keys and certificate in OpenSSH form."""

    generation: int
    authorized_keys: tuple[str, ...]
    user_ca_keys: tuple[str, ...]
    host_certificate: str


@dataclass(frozen=True, slots=True)
class SshTarget:
    """The agent's own SSH server."""


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """A TCP port seen from inside the session: "HOST:PORT"."""

    address: str


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """A Unix socket inside the session, an absolute path."""

    path: str


DialTarget = SshTarget | TcpTarget | UnixTarget


@dataclass(frozen=True, slots=True)
class DialRequest:
    """Asks an agent for a connection."""

    dial_id: str
    target: DialTarget
    origin: str


@dataclass(frozen=True, slots=True)
class DialFailure:
    """An agent could not connect."""

    dial_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Activity:
    """What goes on in a session."""

    channels: int
    terminals: int
    last_byte_time: datetime | None


@dataclass(frozen=True, slots=True)
class ConfigApplied:
    """The config of this generation is in force."""

    generation: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The gateway ends soon."""


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a connection."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Credit:
    """The receiver's next hop took so many more bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Eof:
    """No more data from this side."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection broke."""

    reason: str


FromAgent = DialFailure | Activity | ConfigApplied
ToAgent = AgentConfig | DialRequest | Drain
Frame = Data | Credit | Eof | Reset
