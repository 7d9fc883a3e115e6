"""Names that no other session of an owner has."""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING

from netvps.domain.session.session import DesiredState, Session
from netvps.domain.session.wordlist import COUNT, pleasant_name
from netvps.errors import AlreadyExists

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.domain.names import SessionName
    from netvps.services.ports import Reader

_TRIES = 20


async def require_free(reader: Reader, caller: Caller, name: SessionName) -> None:
    """Raises AlreadyExists if a session has that name."""
    found = await reader.find(Session, owner=name.owner, name=name.name)
    if not found:
        return
    short = name.name if name.owner == caller.user else str(name)
    if found[0].desired is DesiredState.DELETED:
        raise AlreadyExists(f"session {short} is being deleted: choose another name, or wait until it is gone")
    raise AlreadyExists(f"session {short} exists already: choose another name, or netvps ssh {short}")


async def free_name(reader: Reader, owner: str) -> str:
    """A generated name, with a number appended if several random ones are in use."""

    async def free(name: str) -> bool:
        return not await reader.find(Session, owner=owner, name=name)

    name = pleasant_name(secrets.randbelow(COUNT))
    for _ in range(_TRIES):
        if await free(name):
            return name
        name = pleasant_name(secrets.randbelow(COUNT))
    for number in itertools.count(2):
        if await free(f"{name}-{number}"):
            break
    return f"{name}-{number}"
