"""The identities that certificates carry, as URIs; one module builds and parses them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from netvps.domain.checks import shown
from netvps.domain.uid import UID_PATTERN
from netvps.errors import InvalidInput

_RUNNER = re.compile(rf"netvps://runner/({UID_PATTERN})")
_SESSION = re.compile(rf"netvps://session/({UID_PATTERN})/epoch/([1-9][0-9]{{0,17}})")


@dataclass(frozen=True, slots=True)
class RunnerIdentity:
    """A runner."""

    uid: str

    @property
    def uri(self) -> str:
        """As a certificate has it."""
        return f"netvps://runner/{self.uid}"

    def __str__(self) -> str:
        return f"runner {self.uid}"


@dataclass(frozen=True, slots=True)
class SessionIdentity:
    """The agent of a session, in one placement."""

    uid: str
    epoch: int

    @property
    def uri(self) -> str:
        """As a certificate has it."""
        return f"netvps://session/{self.uid}/epoch/{self.epoch}"

    def __str__(self) -> str:
        return f"session {self.uid} epoch {self.epoch}"


@dataclass(frozen=True, slots=True)
class AgentCredential:
    """What the agent of a session proves itself with; all PEM."""

    key: str
    certificate: str
    ca_certificate: str
    renew_time: datetime
    """When a third of the certificate's life is left."""


def parse_identity(uri: str) -> RunnerIdentity | SessionIdentity:
    """Reads "netvps://runner/UID" or "netvps://session/UID/epoch/N". Raises InvalidInput."""
    if match := _RUNNER.fullmatch(uri):
        return RunnerIdentity(match[1])
    if match := _SESSION.fullmatch(uri):
        return SessionIdentity(match[1], int(match[2]))
    raise InvalidInput.of("identity", f"{shown(uri)} is not the identity of a runner or of a session")
