"""Identities in certificates, as URIs. Only this module builds and parses them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from netvps.domain.checks import shown
from netvps.domain.uid import UID_PATTERN
from netvps.errors import InvalidInput

_RUNNER = re.compile(rf"netvps://runner/({UID_PATTERN})")
_SERVER = re.compile(rf"netvps://server/({UID_PATTERN})")
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
class ServerIdentity:
    """The identity of a server's process towards the other servers of its database."""

    uid: str

    @property
    def uri(self) -> str:
        """The URI in the certificate."""
        return f"netvps://server/{self.uid}"

    def __str__(self) -> str:
        return f"server {self.uid}"


@dataclass(frozen=True, slots=True)
class AgentCredential:
    """The certificate and key of a session's agent; all PEM."""

    key: str
    certificate: str
    ca_certificate: str
    renew_time: datetime
    """When a third of the certificate's lifetime is left."""


Certified = RunnerIdentity | SessionIdentity | ServerIdentity
"""The identity in a certificate of the cluster's CA."""


def parse_identity(uri: str) -> Certified:
    """Parses "netvps://runner/UID", "netvps://session/UID/epoch/N" or "netvps://server/UID". Raises InvalidInput."""
    if match := _RUNNER.fullmatch(uri):
        return RunnerIdentity(match[1])
    if match := _SESSION.fullmatch(uri):
        return SessionIdentity(match[1], int(match[2]))
    if match := _SERVER.fullmatch(uri):
        return ServerIdentity(match[1])
    raise InvalidInput.of("identity", f"{shown(uri)} is not the identity of a runner, session or server")
