"""People and programs, their credentials, and who may see what. Secrets are kept as SHA-256 only."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from netvps.domain.names import USER_NAME_MAX, check_label
from netvps.errors import NotPermitted


class Role(StrEnum):
    """What a person may do."""

    USER = "USER"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    user: str
    role: Role

    def sees(self, owner: str) -> bool:
        """Whether things of `owner` are there for the caller at all."""
        return self.role is Role.ADMIN or owner == self.user

    def require_admin(self, action: str) -> None:
        """Raises NotPermitted unless the caller is an admin; `action` completes 'may not …'."""
        if self.role is not Role.ADMIN:
            raise NotPermitted(f"user {self.user} may not {action}: it needs role admin; ask one of your admins")


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program."""

    kind: ClassVar[str] = "user"

    name: str
    role: Role
    create_time: datetime
    revision: int = 0

    def __post_init__(self) -> None:
        check_label(self.name, "user_id", USER_NAME_MAX)

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.name


@dataclass(frozen=True, slots=True)
class SshKey:
    """A registered public key; a fingerprint belongs to one user."""

    kind: ClassVar[str] = "ssh_key"

    uid: str
    owner: str
    public_key: str
    fingerprint: str
    title: str
    create_time: datetime
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.uid


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that somebody holds: an API key, a join token of a runner, a boot token of an agent."""

    kind: ClassVar[str] = "credential"

    kid: str
    purpose: str
    """api, join or boot."""
    subject: str
    """The user; '' for a join token; "SESSION_UID/EPOCH" for a boot token."""
    secret_sha256: str
    create_time: datetime
    expire_time: datetime | None
    used_by: str = ""
    """SHA-256 of the public key that used it up, for those that work once."""
    used_for: str = ""
    """What came of that use: the uid of the runner."""
    title: str = ""
    """A name for people."""
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.kid

    def matches(self, secret: str, now: datetime) -> bool:
        """Whether `secret` is the one, and still good; takes the same time wherever it differs."""
        return self.holds(secret) and not self.expired(now)

    def holds(self, secret: str) -> bool:
        """Whether `secret` is the one, good or not."""
        return hmac.compare_digest(self.secret_sha256, digest(secret))

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expire_time is not None and now >= self.expire_time


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is shown of a Credential for the API, and when it was used last since the server started."""

    kid: str
    user: str
    title: str
    create_time: datetime
    expire_time: datetime | None = None
    last_use_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A mutation that was carried out under a request id, so that it is not carried out again."""

    kind: ClassVar[str] = "request"

    request_key: str
    """"USER/REQUEST_ID"."""
    digest: str
    """SHA-256 of the method and its arguments."""
    result_kind: str
    result_key: str
    result_name: str
    create_time: datetime
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.request_key


def digest(secret: str) -> str:
    """SHA-256 in hex. Our secrets are random 256 bits: nothing slower is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
