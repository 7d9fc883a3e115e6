"""Puts a session in the place of another one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.access.sharing import Share
from netvps.domain.http.stored import StoredUrl
from netvps.domain.names import SESSION_NAME_MAX, SessionName
from netvps.domain.session import lifecycle
from netvps.domain.session.session import Author, ChangeCause, Session
from netvps.errors import InvalidInput
from netvps.services.idempotency import Idempotency
from netvps.services.sessions.edits import recalled, require_revision, with_runner, write_edited
from netvps.services.sessions.scope import changeable_session
from netvps.services.snapshots.use import rename_snapshots, require_unused

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import Clock, Store, Transaction


class Replacements:
    """Replaces sessions, so that no moment is without the one or the other."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def replace(
        self, caller: Caller, name: str, replacement: str, *, request_id: str = "", expected_revision: int = 0
    ) -> Session:
        """Gives the name, stored URLs and shares of a session to another one, and deletes the first.

        `expected_revision` is that of the first. Raises NotFound, InvalidInput for sessions of different owners,
        Changed, and WrongState if the first is protected or in use, or the other one is being deleted.
        """
        old_name, new_name = SessionName.parse(name, caller.user), SessionName.parse(replacement, caller.user)
        if old_name == new_name or old_name.owner != new_name.owner:
            raise InvalidInput.of("replacement", f"{new_name} is not another session of {old_name.owner}: name one")
        now = self._clock()
        async with self._store.write(caller.user, "session.desired") as tx:
            once = Idempotency(
                tx, caller, request_id, now, "ReplaceSession", str(old_name), expected_revision, str(new_name)
            )
            earlier = await once.earlier()
            if earlier is None:
                old = await changeable_session(tx, caller, old_name)
                new = await changeable_session(tx, replace(caller, lease=0), new_name)
                require_revision(old, expected_revision)
                await require_unused(tx, old)
                gone = lifecycle.delete(lifecycle.rename(old, _name_of_old(old), now), now, _person(caller))
                named = lifecycle.rename(new, old.name, now)
                await _move_access(tx, old.uid, new.uid)
                await rename_snapshots(tx, gone)
                await write_edited(tx, old, await with_runner(tx, old, gone, now, ""), now)
                await rename_snapshots(tx, named)
                made = await write_edited(tx, new, named, now)
                await once.record(made, str(made.full_name))
                return made
        return await recalled(self._store, earlier)


def _name_of_old(old: Session) -> str:
    """A free name for a session that is being deleted."""
    return f"{old.name[: SESSION_NAME_MAX - len(old.uid) - 1]}-{old.uid}"


async def _move_access(tx: Transaction, old: str, new: str) -> None:
    """Gives the stored URLs and shares of a session (uid) to another one, except where that has its own."""
    taken = {one.key for kind in (StoredUrl, Share) for one in await tx.find(kind, session=new)}
    old_access: list[StoredUrl | Share] = [*await tx.find(StoredUrl, session=old), *await tx.find(Share, session=old)]
    for one in old_access:
        moved = replace(one, session=new)
        if moved.key != one.key:  # a host of its own is the key itself
            await tx.delete(one)
        if moved.key not in taken:
            await tx.put(moved)


def _person(caller: Caller) -> Author:
    return Author(caller.user, ChangeCause.PERSON)
