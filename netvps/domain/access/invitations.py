"""Invitations: who may make an account for themselves, once, and with which role."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final

from netvps.domain.access.accounts import Role, User, digest
from netvps.domain.access.ssh_key import PublicKey

INVITERS: Final = frozenset({Role.OPERATOR, Role.ADMIN})
"""Roles that may invite; domain.access.permissions has the same for the calls."""
DEFAULT_TTL: Final = timedelta(hours=72)
MIN_TTL, MAX_TTL = timedelta(minutes=1), timedelta(days=30)
KEPT: Final = timedelta(days=30)
"""How long an invitation is listed after its end."""


class InvitationState(StrEnum):
    """Whether an invitation can be redeemed."""

    OPEN = "OPEN"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"
    """Also if its issuer was removed, or may not give that role any more."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation, with a hash of its token."""

    kind: ClassVar[str] = "invitation"

    kid: str
    issuer: str
    """Name of the user."""
    role: Role
    note: str
    secret_sha256: str
    create_time: datetime
    expire_time: datetime
    redeemed_by: str = ""
    """Name of the user who registered with it."""
    end_time: datetime | None = None
    """When it was redeemed or revoked."""
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.kid

    def holds(self, secret: str) -> bool:
        """Whether `secret` is correct. The comparison takes constant time."""
        return hmac.compare_digest(self.secret_sha256, digest(secret))

    def state(self, now: datetime, issuer: User | None) -> InvitationState:
        """Its state; `issuer` is the user who issued it, if they exist."""
        if self.redeemed_by:
            return InvitationState.REDEEMED
        if self.end_time is not None or issuer is None or not may_give(issuer.role, self.role):
            return InvitationState.REVOKED
        return InvitationState.EXPIRED if now >= self.expire_time else InvitationState.OPEN

    def is_outdated(self, now: datetime) -> bool:
        """Whether it ended so long ago that it is deleted."""
        return now >= min(self.end_time or self.expire_time, self.expire_time) + KEPT


@dataclass(frozen=True, slots=True)
class InvitationView:
    """An invitation as people see it."""

    kid: str
    issuer: str
    role: Role
    note: str
    create_time: datetime
    expire_time: datetime
    state: InvitationState
    redeemed_by: str = ""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """The account that a person asks for."""

    user_id: str
    key: PublicKey
    request_id: str = ""


def may_give(issuer: Role, role: Role) -> bool:
    """Whether a user with role `issuer` may invite people to `role`."""
    order = list(Role)
    return issuer in INVITERS and order.index(role) <= order.index(issuer)
