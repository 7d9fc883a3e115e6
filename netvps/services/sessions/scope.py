"""Finds what a request names, as far as the caller sees it; the only place that says who may do what with a session.

A `parent` is the caller for "" or "me", all that the caller may see for "-", else the user with that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import User
from netvps.domain.access.sharing import (
    Right,
    Share,
    missing_right,
    missing_right_of_role,
    most_rights,
    rights_without_share,
    share_key,
)
from netvps.domain.checks import shown
from netvps.domain.names import SessionName
from netvps.domain.scheduling.lease import SessionLease, require_holder
from netvps.domain.session.session import Session
from netvps.errors import NotFound, NotPermitted

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import Reader, Transaction, Wanted

ME, ALL = "me", "-"


async def require_user(reader: Reader, name: str) -> User:
    """The user with that name. Raises NotFound."""
    user = await reader.get(User, name)
    if user is None:
        raise no_user(name)
    return user


def no_user(name: str) -> NotFound:
    """The error for a user that does not exist or is not visible to the caller."""
    return NotFound(f"no user {shown(name)[1:-1]}: see netvps user ls")


async def user_in_sight(reader: Reader, caller: Caller, parent: str) -> User:
    """The user that `parent` names ("" and "me": the caller). Raises NotFound, also if the caller may not see them."""
    name = caller.user if parent in {"", ME} else parent
    if not caller.sees(name):
        raise no_user(name)
    return await require_user(reader, name)


async def owner_filter(reader: Reader, caller: Caller, parent: str) -> dict[str, str]:
    """The filter for `parent`: {} for all owners, or one owner. Raises NotFound as above."""
    if parent == ALL:
        return {} if caller.sees_all else {"owner": caller.user}
    if parent in {"", ME, caller.user}:
        return {"owner": caller.user}  # the caller exists
    if not caller.sees_all:
        raise no_user(parent)
    return {"owner": (await require_user(reader, parent)).name}


async def snapshot_filter(reader: Reader, caller: Caller, parent: str, session: str) -> dict[str, str]:
    """The filter for the snapshots of one session, NAME or NAME.OWNER; or, if that is '', of the owners in `parent`."""
    if session:
        name = SessionName.parse(session, caller.user)
        return {"session": (await find_session(reader, caller, name, Right.INSPECT)).uid}
    return await owner_filter(reader, caller, parent)


async def session_or_user_filter(
    reader: Reader, caller: Caller, session: str, user: str, *, column: str, now: datetime
) -> dict[str, str]:
    """The filter for what is stored of one session, NAME or NAME.OWNER; or, if that is '', of a user ('': the caller).

    `column` is where the user is. Raises NotFound, NotPermitted, InvalidInput.
    """
    if session:
        name = SessionName.parse(session, caller.user)
        return {"session": (await permitted_session(reader, caller, name, Right.INSPECT, now))[0].uid}
    return {column: (await user_in_sight(reader, caller, user)).name}


async def find_session(reader: Reader, caller: Caller, name: SessionName, right: Right = Right.MANAGE) -> Session:
    """The session with that name, to do what no share permits with it. Raises as `permitted_session`."""
    return (await permitted_session(reader, caller, name, right, None))[0]


async def changeable_session(
    tx: Transaction, caller: Caller, name: SessionName, right: Right = Right.MANAGE
) -> Session:
    """As `find_session`, to change it. Raises WrongState, too, if another program has leased it."""
    session = await find_session(tx, caller, name, right)
    lease = await tx.get(SessionLease, session.uid)
    if lease is not None or caller.lease:
        require_holder(caller, lease, str(name), await tx.now())
    return session


async def permitted_session(
    reader: Reader, caller: Caller, name: SessionName, right: Right, now: datetime | None
) -> tuple[Session, Share | None]:
    """The session with that name, and the share by which the caller may do that; None if it is by their role.

    Only a right that no share has can be asked without the time. Raises NotFound, with the same message if the caller
    may not know that it exists, and NotPermitted if they may, but their role or the share is not for that.
    """
    found = await reader.find(Session, owner=name.owner, name=name.name)
    by_role = rights_without_share(caller, name.owner)
    if right in by_role or caller.user == name.owner:
        if not found:
            raise no_session(name)
        if right not in by_role:
            raise NotPermitted(missing_right_of_role(str(name), caller.role, right))
        return found[0], None
    # The same two reads whether the session exists or not.
    share = await reader.get(Share, share_key(found[0].uid if found else "", caller.user))
    if not found or share is None or (now is not None and share.has_ended(now)):
        if found and by_role:
            raise NotPermitted(missing_right_of_role(str(name), caller.role, right))
        raise no_session(name)
    if right not in most_rights(caller.role):
        raise NotPermitted(missing_right_of_role(str(name), caller.role, right))
    if now is None or not share.permits(right, now):
        raise NotPermitted(missing_right(str(name), name.owner, share.role, right))
    return found[0], share


@dataclass(frozen=True, slots=True)
class Visible:
    """Sessions that a caller sees: those that match `where`, and those with the uids in `also`."""

    where: dict[str, Wanted]
    also: frozenset[str] = frozenset()


async def visible_sessions(reader: Reader, caller: Caller, parent: str, now: datetime) -> Visible:
    """The sessions that `parent` names: one's own ("", "me"), all that one sees ("-"), or those of a user.

    Raises NotFound for a user of whom the caller sees nothing.
    """
    if caller.sees_all and parent == ALL:
        return Visible({})
    if parent in {"", ME, caller.user}:
        return Visible({"owner": caller.user})
    if caller.sees_all:
        return Visible({"owner": (await require_user(reader, parent)).name})
    shares = [share for share in await reader.find(Share, user=caller.user) if not share.has_ended(now)]
    if parent == ALL:
        return Visible({"owner": caller.user}, frozenset(share.session for share in shares))
    shared = frozenset(share.session for share in shares if share.owner == parent)
    if not shared:
        raise no_user(parent)
    return Visible({"owner": ()}, shared)


def no_session(name: SessionName) -> NotFound:
    """The error for a session that does not exist or belongs to another user."""
    return NotFound(f"no session {name}: see netvps ls")
