"""Identities in certificates, as URIs. Only this module builds and parses them."""

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
    """The identity of a runner."""

    uid: str

    @property
    def uri(self) -> str:
        """The URI in the certificate."""
        return f"netvps://runner/{self.uid}"

    def __str__(self) -> str:
        return f"runner {self.uid}"


@dataclass(frozen=True, slots=True)
class SessionIdentity:
    """The identity of a session's agent, in one placement."""

    uid: str
    epoch: int

    @property
    def uri(self) -> str:
        """The URI in the certificate."""
        return f"netvps://session/{self.uid}/epoch/{self.epoch}"

    def __str__(self) -> str:
        return f"session {self.uid} epoch {self.epoch}"


@dataclass(frozen=True, slots=True)
class AgentCredential:
    """The certificate and key of a session's agent; all PEM."""

    key: str
    certificate: str
    ca_certificate: str
    renew_time: datetime
    """When a third of the certificate's lifetime is left."""


def parse_identity(uri: str) -> RunnerIdentity | SessionIdentity:
    """Parses "netvps://runner/UID" or "netvps://session/UID/epoch/N". Raises InvalidInput."""
    if match := _RUNNER.fullmatch(uri):
        return RunnerIdentity(match[1])
    if match := _SESSION.fullmatch(uri):
        return SessionIdentity(match[1], int(match[2]))
    raise InvalidInput.of("identity", f"{shown(uri)} is not the identity of a runner or of a session")
