"""Shares of sessions: what they let a user do who does not own the session; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto
from typing import TYPE_CHECKING, ClassVar, Final

from netvps.domain.access.accounts import Role
from netvps.domain.names import SNAPSHOTS_LOGIN, WATCH_LOGIN
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.domain.names import SessionName

MAX_SHARES: Final = 100
"""Maximum per session: the keys of all its users are sent to the session's agent in one message."""


class ShareRole(StrEnum):
    """What a share is for."""

    VIEW = "VIEW"
    """Read the session in the API, and watch its terminals."""
    USE = "USE"
    """Also log in, copy files, forward ports and run commands."""


class Right(StrEnum):
    """What someone may do with a session, by their role and by shares."""

    READ = auto()
    """See it in the API."""
    WATCH = auto()
    """Watch its terminals, and read what its container wrote."""
    LOGIN = auto()
    """Log in to it, as any Unix user."""
    INSPECT = auto()
    """See its metrics, its snapshots, its moves and with whom it is shared."""
    MOVE = auto()
    """Move it to another runner."""
    MANAGE = auto()
    """Change, share and delete it, and use its snapshots."""


_RIGHTS: Final = {
    ShareRole.VIEW: frozenset({Right.READ, Right.WATCH}),
    ShareRole.USE: frozenset({Right.READ, Right.WATCH, Right.LOGIN}),
}
_OWN: Final = {Role.VIEWER: frozenset({Right.READ, Right.WATCH, Right.INSPECT})}
_OF_OTHERS: Final = {
    Role.OPERATOR: frozenset({Right.READ, Right.INSPECT, Right.MOVE}),
    Role.ADMIN: frozenset(Right),
}
_ACTIONS: Final = {
    Right.READ: "to be read",
    Right.WATCH: "to be watched",
    Right.LOGIN: "to log in",
    Right.INSPECT: "to be inspected",
    Right.MOVE: "to be moved",
    Right.MANAGE: "to be changed",
}


def most_rights(role: Role) -> frozenset[Right]:
    """What users with a role may do with their own sessions, and at most with those that are shared with them."""
    return _OWN.get(role, frozenset(Right))


def rights_without_share(caller: Caller, owner: str) -> frozenset[Right]:
    """What a caller may do with the sessions of an owner."""
    return most_rights(caller.role) if caller.user == owner else _OF_OTHERS.get(caller.role, frozenset())


def right_for_login(unix_user: str) -> Right:
    """What a login as a Unix user needs, or as what stands in its place."""
    return {SNAPSHOTS_LOGIN: Right.MANAGE, WATCH_LOGIN: Right.WATCH}.get(unix_user, Right.LOGIN)


@dataclass(frozen=True, slots=True)
class Share:
    """A session that another user than its owner may use."""

    kind: ClassVar[str] = "share"

    session: str
    """Uid."""
    owner: str
    """Owner of the session."""
    user: str
    """The user with whom it is shared."""
    role: ShareRole
    create_time: datetime
    expire_time: datetime | None = None
    """None: it does not end by itself."""
    revision: int = 0

    def __post_init__(self) -> None:
        if self.user == self.owner:
            raise InvalidInput.of("user", f"{self.user} owns the session: share it with another user")

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return share_key(self.session, self.user)

    def has_ended(self, now: datetime) -> bool:
        """Whether its end has come."""
        return self.expire_time is not None and now >= self.expire_time

    def permits(self, right: Right, now: datetime) -> bool:
        """Whether its user may do that now."""
        return right in _RIGHTS[self.role] and not self.has_ended(now)


@dataclass(frozen=True, slots=True)
class NamedShare:
    """A share with the name that its session has now."""

    share: Share
    session: SessionName


def share_key(session: str, user: str) -> str:
    """The primary key of a session's (uid) share with a user."""
    return f"{session}/{user}"


def missing_right_of_role(name: str, role: Role, right: Right) -> str:
    """Why a user's role does not let them do something with a session."""
    return f"your role {role.lower()} does not allow session {name} {_ACTIONS[right]}: ask one of your admins"


def missing_right(name: str, owner: str, role: ShareRole, right: Right) -> str:
    """Why a user with a share may not do something."""
    return f"session {name} is shared with you with role {role.lower()}, not {_ACTIONS[right]}: ask {owner}"
