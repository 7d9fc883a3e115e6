"""Takes the snapshots that are due by the schedules of sessions that run, a few at a time.

Nothing but the snapshots is remembered across a restart: their times say which slots have one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.snapshot.policy import is_due
from netvps.domain.snapshot.snapshot import SnapshotCause, SnapshotDraft
from netvps.errors import NetvpsError
from netvps.services.page import read_all
from netvps.services.snapshots.take import is_online, take_snapshot
from netvps.services.snapshots.use import snapshots_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from netvps.services.ports import Clock, Store, Transaction

MAX_PER_RUNNER: Final = 4
"""Snapshots that one runner is asked for in one go; the others follow in the next."""
log = structlog.get_logger()


class SnapshotSchedule:
    """To be asked every minute or so."""

    def __init__(self, store: Store, clock: Clock, new_uid: Callable[[], str], copies: int = 1) -> None:
        """`copies` is the default number of copies of a snapshot."""
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._copies = copies
        self._settled: dict[str, datetime] = {}
        """Begin of the slot for which nothing is to be done any more, by session."""

    async def take_due(self) -> int:
        """Orders the snapshots that are due now; returns their number."""
        now = self._clock()
        async with self._store.read() as reader:
            running = await read_all(reader, Session, state=SessionState.RUNNING)
        due = [session for session in running if self._may_be_due(session, now)]
        self._settled = {uid: self._settled[uid] for uid in {one.uid for one in running} & self._settled.keys()}
        ordered: Counter[str] = Counter()
        for session in due:
            if ordered[session.runner] < MAX_PER_RUNNER and await self._take(session.uid, now):
                ordered[session.runner] += 1
        return ordered.total()

    def _may_be_due(self, session: Session, now: datetime) -> bool:
        begin = session.spec.snapshot_policy.slot_begin(session.uid, now)
        return begin is not None and self._settled.get(session.uid) != begin

    async def _take(self, uid: str, now: datetime) -> bool:
        """Orders a snapshot of a session if it is due, and has a runner that can take it now."""
        try:
            async with self._store.write("schedule", "snapshot.create") as tx:
                session = await tx.get(Session, uid)
                if session is None or session.state is not SessionState.RUNNING or not await is_online(tx, session):
                    return False  # looked at again in the next go
                due = session.desired is DesiredState.RUNNING and await _is_due(tx, session, now)
                if due:
                    ordered, snapshot = await take_snapshot(
                        tx,
                        session,
                        SnapshotDraft(),
                        SnapshotCause.SCHEDULE,
                        uid=self._new_uid(),
                        now=now,
                        copies=self._copies,
                    )
                    await tx.put(ordered)
                    await tx.put(snapshot)
        except NetvpsError as error:
            log.warning("no scheduled snapshot", session=uid, error=error.message)
            return False
        if begin := session.spec.snapshot_policy.slot_begin(uid, now):
            self._settled[uid] = begin
        return due


async def _is_due(tx: Transaction, session: Session, now: datetime) -> bool:
    times = [one.create_time for one in await snapshots_of(tx, session.uid) if one.cause is SnapshotCause.SCHEDULE]
    began = session.create_time
    return is_due(session.spec.snapshot_policy, session.uid, last=max(times, default=None), began=began, now=now)
