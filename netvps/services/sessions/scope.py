"""Finds what a request names, as far as the caller sees it.

A `parent` is the caller for "" or "me", all that the caller may see for "-", else the user with that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Role, User
from netvps.domain.checks import shown
from netvps.domain.names import SessionName
from netvps.domain.session.session import Session
from netvps.errors import NotFound

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import Reader

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
        return {} if caller.role is Role.ADMIN else {"owner": caller.user}
    if parent in {"", ME, caller.user}:
        return {"owner": caller.user}  # the caller exists
    return {"owner": (await user_in_sight(reader, caller, parent)).name}


async def snapshot_filter(reader: Reader, caller: Caller, parent: str, session: str) -> dict[str, str]:
    """The filter for the snapshots of one session, NAME or NAME.OWNER; or, if that is '', of the owners in `parent`."""
    if session:
        return {"session": (await find_session(reader, caller, SessionName.parse(session, caller.user))).uid}
    return await owner_filter(reader, caller, parent)


async def find_session(reader: Reader, caller: Caller, name: SessionName) -> Session:
    """The session with that name. Raises NotFound, with the same message if the caller may not see it."""
    found = await reader.find(Session, owner=name.owner, name=name.name) if caller.sees(name.owner) else []
    if not found:
        raise no_session(name)
    return found[0]


def no_session(name: SessionName) -> NotFound:
    """The error for a session that does not exist or belongs to another user."""
    return NotFound(f"no session {name}: see netvps ls")
