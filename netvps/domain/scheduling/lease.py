"""Leases of sessions: while a program has one, no other program changes the session. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Final

from netvps.errors import WrongState

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller

MIN_TTL: Final = 10.0
MAX_TTL: Final = 86_400.0
HOLDER_MAX: Final = 64
LEASED: Final = "SESSION_LEASED"
LOST: Final = "LEASE_LOST"


@dataclass(frozen=True, slots=True)
class SessionLease:
    """Who may change a session, until when."""

    kind: ClassVar[str] = "session_lease"

    session: str
    """Uid."""
    holder: str
    """What the program calls itself."""
    user: str
    epoch: int
    """Higher than that of each earlier lease of any session; a renewal keeps it."""
    acquire_time: datetime
    expire_time: datetime
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.session

    def has_ended(self, now: datetime) -> bool:
        """Whether its end has come."""
        return now >= self.expire_time

    def is_held_by(self, user: str, holder: str) -> bool:
        """Whether this is the same program, or one that replaces it."""
        return (self.user, self.holder) == (user, holder)


@dataclass(frozen=True, slots=True)
class NamedLease:
    """A lease with the name that its session has now."""

    lease: SessionLease
    session: str
    """NAME.OWNER."""


def require_holder(caller: Caller, lease: SessionLease | None, name: str, now: datetime) -> None:
    """Raises WrongState if a session, NAME.OWNER, is leased and the caller has not that lease, or has lost theirs."""
    present = lease if lease is not None and not lease.has_ended(now) else None
    if present is None and caller.lease:
        raise lost(caller.lease, name, None)
    if present is None or present.epoch == caller.lease:
        return
    if caller.lease:
        raise lost(caller.lease, name, present)
    raise WrongState(
        f"session {name} is leased{_until(present)}: wait, or end the lease with netvps lease release {name} --force",
        reason=LEASED,
    )


def lost(epoch: int, name: str, present: SessionLease | None) -> WrongState:
    """The error for an epoch that is not, or not any more, that of the session's lease."""
    now_held = f"leased{_until(present)} now" if present else "not leased now"
    return WrongState(
        f"lease {epoch} of session {name} has ended, or is of another session: it is {now_held}; acquire a lease again",
        reason=LOST,
    )


def _until(lease: SessionLease) -> str:
    return f" by {lease.holder} (user {lease.user}) until {lease.expire_time:%Y-%m-%d %H:%M:%S} UTC"
