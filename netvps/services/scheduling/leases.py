"""Leases sessions to programs, so that no two of them change the same one. Times are those of the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.domain.access.sharing import Right
from netvps.domain.names import SessionName
from netvps.domain.scheduling.lease import NamedLease, SessionLease, lost, require_holder
from netvps.errors import NotFound
from netvps.services.auditing import add_details
from netvps.services.idempotency import Idempotency, recall
from netvps.services.sessions.scope import find_session

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import Clock, Reader, Store


class Leases:
    """Manages the leases of sessions. An ended one stays stored until the session is leased again, or deleted."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """`clock` is for idempotency records only."""
        self._store = store
        self._clock = clock

    async def acquire(
        self,
        caller: Caller,
        name: str,
        holder: str,
        ttl: float,
        *,
        epoch: int = 0,
        force: bool = False,
        request_id: str = "",
    ) -> NamedLease:
        """Leases a session for `ttl` seconds, or renews the lease with that epoch.

        Raises NotFound, and WrongState if another holder has it, unless it is forced, or if the epoch is an old one.
        """
        full_name = SessionName.parse(name, caller.user)
        add_details(("holder", holder), ("force", "true" if force else ""))
        asked = (str(full_name), holder, ttl, epoch, force)
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "AcquireLease", *asked)
            request = await once.earlier()
            if request is None:
                session, now = await find_session(tx, caller, full_name), await tx.now()
                found = await tx.get(SessionLease, session.uid)
                present = found if found is not None and not found.has_ended(now) else None
                end = now + timedelta(seconds=ttl)
                if epoch:
                    if present is None or present.epoch != epoch:
                        raise lost(epoch, str(full_name), present)
                    lease = replace(present, expire_time=end)
                else:
                    if present is not None and not (force or present.is_held_by(caller.user, holder)):
                        require_holder(replace(caller, lease=0), present, str(full_name), now)
                    lease = SessionLease(session.uid, holder, caller.user, tx.revision + 1, now, end)
                lease = await tx.put(lease)
                await once.record(lease, f"of {full_name}")
                return NamedLease(lease, str(session.full_name))
        return NamedLease((await recall(self._store, SessionLease, request))[0], str(full_name))

    async def release(
        self, caller: Caller, name: str, epoch: int = 0, *, force: bool = False, request_id: str = ""
    ) -> NamedLease:
        """Ends a lease. Raises NotFound, and WrongState if it has another epoch, unless it is forced."""
        full_name = SessionName.parse(name, caller.user)
        add_details(("force", "true" if force else ""))
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "ReleaseLease", str(full_name), epoch, force)
            request = await once.earlier()
            if request is None:
                session = await find_session(tx, caller, full_name)
                lease = await _present(tx, session.uid, full_name)
                if not force:
                    require_holder(replace(caller, lease=epoch), lease, str(full_name), await tx.now())
                await tx.delete(lease)
                await once.record(lease, f"of {full_name}")
                return NamedLease(lease, str(session.full_name))
        return NamedLease((await recall(self._store, SessionLease, request))[0], str(full_name))

    async def get(self, caller: Caller, name: str) -> NamedLease:
        """The lease of a session. Raises NotFound, also if it is not leased."""
        full_name = SessionName.parse(name, caller.user)
        async with self._store.read() as reader:
            session = await find_session(reader, caller, full_name, Right.INSPECT)
            return NamedLease(await _present(reader, session.uid, full_name), str(session.full_name))


async def _present(reader: Reader, session: str, name: SessionName) -> SessionLease:
    lease = await reader.get(SessionLease, session)
    if lease is None or lease.has_ended(await reader.now()):
        raise NotFound(f"session {name} is not leased: lease it with netvps lease acquire {name} --holder TEXT")
    return lease
