"""Users, credentials, and who may see what. Secrets are stored as SHA-256 hashes only."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from netvps.domain.access.quota import OF_ROLE, Quota
from netvps.domain.names import USER_NAME_MAX, check_label
from netvps.errors import NotPermitted


class Role(StrEnum):
    """The role of a user. Each may do what the one before may, and more (domain.access.permissions)."""

    VIEWER = "VIEWER"
    """Reads what is theirs, and what is shared with them; changes nothing, and logs in to nothing."""
    USER = "USER"
    """Has sessions and keys."""
    OPERATOR = "OPERATOR"
    """Also manages machines and images, and sees and moves all sessions, without a way into them."""
    ADMIN = "ADMIN"
    """May do everything."""


class Scope(StrEnum):
    """What an API key is for: it never lets its user do more, whatever their role is."""

    READ = "READ"
    """As role viewer."""
    SESSIONS = "SESSIONS"
    """As role user, without access to keys."""
    FULL = "FULL"
    """Everything that the user may do."""

    def limits(self, role: Role) -> Role:
        """The role that a user with this role has in calls with such a key."""
        most = {Scope.READ: Role.VIEWER, Scope.SESSIONS: Role.USER}.get(self, Role.ADMIN)
        return min(role, most, key=list(Role).index)


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated user behind a request."""

    user: str
    role: Role
    """Their own, unless the scope allows less."""
    scope: Scope = Scope.FULL
    """Of the API key; FULL for all other credentials."""
    lease: int = field(default=0, compare=False)
    """Epoch of the session's lease (domain.scheduling.lease) that this call carries; 0 for none."""

    def sees(self, owner: str) -> bool:
        """Whether the caller may know that the user `owner` exists, with their keys."""
        return self.role is Role.ADMIN or owner == self.user

    @property
    def sees_all(self) -> bool:
        """Whether the caller may know about all sessions."""
        return self.role in {Role.OPERATOR, Role.ADMIN}

    def require_admin(self, action: str) -> None:
        """Raises NotPermitted unless the caller is an admin; `action` completes 'may not …'."""
        if self.role is not Role.ADMIN:
            raise NotPermitted(f"user {self.user} may not {action}: it needs role admin; ask one of your admins")


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program that uses the API."""

    kind: ClassVar[str] = "user"

    name: str
    role: Role
    create_time: datetime
    revision: int = 0
    quota: Quota = OF_ROLE
    """Their own, which replaces that of their role."""

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
    """The stored hash of a secret: an API key, a runner's join token, or an agent's boot token."""

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
    """SHA-256 of the public key that consumed a single-use credential."""
    used_for: str = ""
    """The result of that use: the uid of the runner."""
    title: str = ""
    """A label for people."""
    scope: Scope = Scope.FULL
    """Of an API key; those of versions without scopes have FULL."""
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.kid

    def matches(self, secret: str, now: datetime) -> bool:
        """Whether `secret` is correct and not expired. The comparison takes constant time."""
        return self.holds(secret) and not self.expired(now)

    def holds(self, secret: str) -> bool:
        """Whether `secret` is correct, expired or not."""
        return hmac.compare_digest(self.secret_sha256, digest(secret))

    def expired(self, now: datetime) -> bool:
        """Whether its expiry time has passed."""
        return self.expire_time is not None and now >= self.expire_time


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The public part of an API credential, and its last use, which is exact to a minute."""

    kid: str
    user: str
    title: str
    create_time: datetime
    expire_time: datetime | None = None
    last_use_time: datetime | None = None
    scope: Scope = Scope.FULL


@dataclass(frozen=True, slots=True)
class Request:
    """An idempotency record: a mutation that was carried out under a request id, so that a retry does not repeat it."""

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
    """SHA-256 in hex. Secrets have 256 random bits, so a slow password hash is not needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
