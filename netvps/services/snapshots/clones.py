"""Clones: sessions that are made from the snapshot of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.names import SessionName
from netvps.domain.session.session import Author, DesiredState, Session
from netvps.domain.snapshot.orders import clone
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotCause, SnapshotDraft, SnapshotSource, SnapshotState
from netvps.errors import NotFound, Unavailable, WrongState
from netvps.services.access.quotas import Quotas
from netvps.services.idempotency import Idempotency, recall
from netvps.services.network.addresses import put_addressed
from netvps.services.sessions.free_names import free_name, require_free
from netvps.services.sessions.scheduler import placed
from netvps.services.sessions.scope import find_session
from netvps.services.snapshots.take import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import Clock, Store, Transaction


class Clones:
    """Clones sessions."""

    def __init__(
        self, store: Store, clock: Clock, new_uid: Callable[[], str], copies: int = 1, quotas: Quotas | None = None
    ) -> None:
        """`copies` is the default number of copies of a snapshot."""
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._copies = copies
        self._quotas = quotas or Quotas()

    async def clone(
        self, caller: Caller, source: str, *, session_id: str, snapshot_id: str = "", request_id: str = ""
    ) -> Session:
        """Makes a session from a snapshot of `source`, or from its present state; names it unless `session_id` does.

        Raises NotFound, AlreadyExists, and WrongState if the source has no files or the snapshot is not READY.
        """
        name, now = SessionName.parse(source, caller.user), self._clock()
        async with self._store.write(caller.user, "session.clone") as tx:
            once = Idempotency(tx, caller, request_id, now, "CloneSession", str(name), session_id, snapshot_id)
            request = await once.earlier()
            if request is None:
                found = await find_session(tx, caller, name)
                if found.desired is DesiredState.DELETED:
                    raise WrongState(f"session {name} is being deleted: it cannot be cloned any more")
                if session_id:
                    await require_free(tx, caller, SessionName(name.owner, session_id))
                own_name = SessionName(name.owner, session_id or await free_name(tx, name.owner))
                snapshot = await self._snapshot(tx, found, snapshot_id, own_name)
                made_from = SnapshotSource(snapshot.uid, found.uid, snapshot.full_name)
                draft = clone(found, self._new_uid(), own_name, snapshot=made_from, now=now, by=Author(caller.user))
                await self._quotas.require(tx, None, draft)
                session = await put_addressed(tx, await placed(tx, draft, now))
                await once.record(session, str(own_name))
                return session
        return (await recall(self._store, Session, request))[0]

    async def _snapshot(self, tx: Transaction, source: Session, snapshot_id: str, clone_name: SessionName) -> Snapshot:
        """The snapshot to clone; one of the present state is ordered if none is named."""
        if not snapshot_id:
            draft = SnapshotDraft(description=f"for the clone {clone_name}")
            try:
                ordered, snapshot = await take_snapshot(
                    tx,
                    source,
                    draft,
                    SnapshotCause.CLONE,
                    uid=self._new_uid(),
                    now=self._clock(),
                    copies=self._copies,
                )
            except (WrongState, Unavailable) as error:
                ready = await tx.find(Snapshot, session=source.uid, state=SnapshotState.READY)
                if not ready:
                    raise
                newest = max(ready, key=lambda one: one.uid)
                instead = f"netvps clone {source.full_name} {clone_name.name} --snapshot {newest.id}"
                raise type(error)(f"{error.message}; or clone its newest snapshot: {instead}") from None
            await tx.put(ordered)
            return await tx.put(snapshot)
        for snapshot in await tx.find(Snapshot, session=source.uid, id=snapshot_id):
            if snapshot.state is SnapshotState.READY:
                return snapshot
            why = f": {snapshot.message}" if snapshot.message else ""
            raise WrongState(f"snapshot {snapshot.full_name} is {snapshot.state}, not READY{why}; choose another one")
        raise NotFound(
            f"session {source.full_name} has no snapshot {snapshot_id}: see netvps snapshot ls {source.full_name}"
        )
