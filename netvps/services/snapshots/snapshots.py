"""Use cases of snapshots. Each change is one transaction; orders reach the runner with the session's assignment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.access.sharing import Right
from netvps.domain.checks import shown
from netvps.domain.names import SessionName
from netvps.domain.session.lifecycle import defer
from netvps.domain.session.session import DesiredState, Session
from netvps.domain.snapshot.orders import revert
from netvps.domain.snapshot.snapshot import (
    Restore,
    Snapshot,
    SnapshotCause,
    SnapshotChange,
    SnapshotDraft,
    SnapshotState,
)
from netvps.errors import Changed, NotFound, WrongState
from netvps.services.copies.orders import reduce_copies, replenish, require_runners
from netvps.services.idempotency import Idempotency, recall
from netvps.services.page import Page, read_all, read_page
from netvps.services.sessions.scope import changeable_session, find_session, snapshot_filter
from netvps.services.snapshots.take import Limits, is_online, require_room, take_snapshot
from netvps.services.snapshots.use import delete_snapshot, rotate, users_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.access.accounts import Caller
    from netvps.services.copies.copies import Copies
    from netvps.services.ports import Clock, Reader, Store


class Snapshots:
    """Takes, finds, changes, deletes and restores snapshots, named by their session (NAME or NAME.OWNER) and ID."""

    def __init__(self, store: Store, clock: Clock, new_uid: Callable[[], str], limits: Limits, copies: Copies) -> None:
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._limits = limits
        self._copies = copies

    async def create(self, caller: Caller, session: str, draft: SnapshotDraft, *, request_id: str = "") -> Snapshot:
        """Orders a snapshot of a session. Raises NotFound, WrongState, Unavailable, AlreadyExists, Exhausted."""
        name, now = SessionName.parse(session, caller.user), self._clock()
        async with self._store.write(caller.user, "snapshot.create") as tx:
            once = Idempotency(tx, caller, request_id, now, "CreateSnapshot", str(name), draft)
            request = await once.earlier()
            if request is None:
                found = await find_session(tx, caller, name)
                await require_room(tx, found, self._limits)
                ordered, snapshot = await take_snapshot(
                    tx,
                    found,
                    draft,
                    SnapshotCause.REQUEST,
                    uid=self._new_uid(),
                    now=now,
                    copies=self._limits.copies,
                )
                await require_runners(tx, snapshot, draft.copies)
                await tx.put(ordered)
                snapshot = await tx.put(snapshot)
                await once.record(snapshot, snapshot.full_name)
                return snapshot
        return (await recall(self._store, Snapshot, request))[0]

    async def get(self, caller: Caller, session: str, snapshot_id: str) -> Snapshot:
        """One snapshot. Raises NotFound, also if the caller may not see its session."""
        name = SessionName.parse(session, caller.user)
        async with self._store.read() as reader:
            found = (await find_snapshot(reader, caller, name, snapshot_id, Right.INSPECT))[1]
        return await self._copies.shown(found)

    async def list(
        self, caller: Caller, *, parent: str = "", session: str = "", page_size: int = 0, page_token: str = ""
    ) -> Page[Snapshot]:
        """Snapshots of one session by id, or, if `session` is '', of the owners in `parent`, by session and id."""
        async with self._store.read() as reader:
            where = await snapshot_filter(reader, caller, parent, session)
            page = await read_page(reader, Snapshot, page_size, page_token, **where)
        return replace(page, items=[await self._copies.shown(snapshot) for snapshot in page.items])

    async def update(
        self,
        caller: Caller,
        session: str,
        snapshot_id: str,
        change: SnapshotChange,
        *,
        request_id: str = "",
        expected_revision: int = 0,
    ) -> Snapshot:
        """Changes description, labels, pin or the number of copies. Raises NotFound, Changed, WrongState."""
        name, now = SessionName.parse(session, caller.user), self._clock()
        asked = (str(name), snapshot_id, change, expected_revision)
        async with self._store.write(caller.user, "snapshot.update") as tx:
            once = Idempotency(tx, caller, request_id, now, "UpdateSnapshot", *asked)
            request = await once.earlier()
            if request is None:
                _, snapshot = await find_snapshot(tx, caller, name, snapshot_id)
                _require_revision(f"snapshot {snapshot.full_name}", snapshot.revision, expected_revision)
                if snapshot.state is SnapshotState.DELETING:
                    raise WrongState(f"snapshot {snapshot.full_name} is being deleted: take another one")
                changed = change.of(snapshot)
                if changed != snapshot:
                    if changed.copies > snapshot.copies:
                        await require_runners(tx, snapshot, changed.copies)
                    snapshot = await tx.put(await reduce_copies(tx, replace(changed, update_time=now), now))
                    await replenish(tx, snapshot, now)
                await once.record(snapshot, snapshot.full_name)
                return snapshot
        return (await recall(self._store, Snapshot, request))[0]

    async def delete(
        self, caller: Caller, session: str, snapshot_id: str, *, request_id: str = "", expected_revision: int = 0
    ) -> Snapshot:
        """Orders the deletion of a snapshot. Raises NotFound, Changed, and WrongState if it is pinned or in use."""
        name, now = SessionName.parse(session, caller.user), self._clock()
        async with self._store.write(caller.user, "snapshot.delete") as tx:
            once = Idempotency(
                tx, caller, request_id, now, "DeleteSnapshot", str(name), snapshot_id, expected_revision
            )  # fmt: skip
            request = await once.earlier()
            if request is None:
                found, snapshot = await find_snapshot(tx, caller, name, snapshot_id)
                _require_revision(f"snapshot {snapshot.full_name}", snapshot.revision, expected_revision)
                if snapshot.state is not SnapshotState.DELETING:
                    await _require_deletable(tx, found, snapshot)
                    await tx.put(await delete_snapshot(tx, found, snapshot, now))
                    snapshot = await tx.get(Snapshot, snapshot.uid) or snapshot
                await once.record(snapshot, snapshot.full_name)
                return snapshot
        return (await recall(self._store, Snapshot, request))[0]

    async def restore(
        self, caller: Caller, session: str, snapshot_id: str, *, request_id: str = "", expected_revision: int = 0
    ) -> Session:
        """Orders that a session gets the files of a snapshot, once its present state is a snapshot, too.

        `expected_revision` is the session's. Raises NotFound, Changed, WrongState.
        """
        name, now = SessionName.parse(session, caller.user), self._clock()
        async with self._store.write(caller.user, "snapshot.restore") as tx:
            once = Idempotency(
                tx, caller, request_id, now, "RestoreSnapshot", str(name), snapshot_id, expected_revision
            )  # fmt: skip
            request = await once.earlier()
            if request is None:
                await changeable_session(tx, caller, name)
                found, snapshot = await find_snapshot(tx, caller, name, snapshot_id)
                _require_revision(f"session {found.full_name}", found.revision, expected_revision)
                _require_restorable(found, snapshot)
                draft = SnapshotDraft(description=f"the state before the restore of {snapshot.id}")
                ordered, previous = await take_snapshot(
                    tx,
                    found,
                    draft,
                    SnapshotCause.RESTORE,
                    uid=self._new_uid(),
                    now=now,
                    copies=self._limits.copies,
                )
                await tx.put(previous)
                restored = revert(ordered, Restore(self._new_uid(), snapshot.uid, previous.uid, now), now)
                restored = await tx.put(restored if await is_online(tx, found) else defer(restored, now))
                await once.record(restored, str(name))
                return restored
        return (await recall(self._store, Session, request))[0]

    async def expire(self) -> None:
        """Deletes automatic snapshots that are older than their sessions' limit. To be called now and then."""
        now = self._clock()
        async with self._store.read() as reader:
            kept = await read_all(reader, Snapshot, state=SnapshotState.READY)
        for uid in dict.fromkeys(snapshot.session for snapshot in kept if snapshot.automatic):
            async with self._store.read() as reader:
                session = await reader.get(Session, uid)
            if session is None or session.desired is DesiredState.DELETED:
                continue
            if not (session.spec.snapshot_max_age or session.spec.snapshot_policy.max_age):
                continue
            async with self._store.write("retention") as tx:
                session = await tx.get(Session, uid)
                if session is not None and (rotated := await rotate(tx, session, now)) is not session:
                    await tx.put(rotated)


async def find_snapshot(
    reader: Reader, caller: Caller, name: SessionName, snapshot_id: str, right: Right = Right.MANAGE
) -> tuple[Session, Snapshot]:
    """A snapshot and its session. Raises NotFound, NotPermitted."""
    session = await find_session(reader, caller, name, right)
    found = await reader.find(Snapshot, session=session.uid, id=snapshot_id)
    if not found:
        raise NotFound(f"session {name} has no snapshot {shown(snapshot_id)[1:-1]}: see netvps snapshot ls {name}")
    return session, found[0]


def _require_revision(what: str, revision: int, expected: int) -> None:
    if expected and revision != expected:
        raise Changed(f"{what} changed since revision {expected} (it is at {revision}): look at it again, then decide")


async def _require_deletable(reader: Reader, session: Session, snapshot: Snapshot) -> None:
    if snapshot.pinned:
        raise WrongState(
            f"snapshot {snapshot.full_name} is pinned: first run netvps snapshot unpin {session.full_name} "
            f"{snapshot.id}",
            reason="SNAPSHOT_PINNED",
        )
    uses = await users_of(reader, session, [snapshot])
    if snapshot.uid in uses:
        raise WrongState(
            f"snapshot {snapshot.full_name} is in use, as {uses[snapshot.uid]}: wait until that is done",
            reason="SNAPSHOT_IN_USE",
        )


def require_ready(session: Session, snapshot: Snapshot) -> None:
    """Raises WrongState unless a snapshot is READY."""
    if snapshot.state is not SnapshotState.READY:
        why = f": {snapshot.message}" if snapshot.message else ""
        raise WrongState(
            f"snapshot {snapshot.full_name} is {snapshot.state}, not READY{why}; choose another one "
            f"(netvps snapshot ls {session.full_name})"
        )


def _require_restorable(session: Session, snapshot: Snapshot) -> None:
    require_ready(session, snapshot)
    if session.desired is DesiredState.DELETED:
        raise WrongState(f"session {session.full_name} is being deleted: nothing of it can be restored")
    if session.pending_restore:
        raise WrongState(
            f"session {session.full_name} is being restored already: wait until that is done (netvps show "
            f"{session.full_name})"
        )
