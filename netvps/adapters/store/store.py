"""Implements services.ports.Store over any dialect."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy import delete, func, insert, select, update

from netvps.adapters.store.audit import prune_audit, read_audit
from netvps.adapters.store.codec import decode, from_micros
from netvps.adapters.store.connection import Connections, unbroken
from netvps.adapters.store.dialects.dialect import READERS, Dialect
from netvps.adapters.store.key_uses import read_key_uses, write_key_uses
from netvps.adapters.store.servers import forget, renew
from netvps.adapters.store.tables import KINDS, clock, log, meta
from netvps.adapters.store.views import SqlReader, SqlTransaction
from netvps.domain.uid import make_uid
from netvps.errors import NetvpsError, TooOld
from netvps.faults import fault_point
from netvps.services.ports import Change
from netvps.timing import timed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
    from datetime import datetime, timedelta

    from sqlalchemy import Select

    from netvps.adapters.store.connection import Connection
    from netvps.adapters.store.dialects.dialect import Engine
    from netvps.domain.access.audit import AuditEvent, AuditQuery, AuditRecord
    from netvps.domain.peer_server import PeerServer
    from netvps.services.ports import Clock

CLUSTER_ID: Final = "cluster_id"
"""Key in the table `meta`."""
_HORIZON: Final = "horizon"
_COMPACT_AT_ONCE, _COMPACT_BYTES = 5000, 64 << 20  # removed per transaction, as it blocks other writers
_READ_BYTES: Final = 32 << 20
"""Bytes of the log read at once; more only if one entry is larger: a session may have megabytes."""
_POLL_SECONDS = 1.0

logger = structlog.get_logger()


class SqlStore:
    """The source of truth, with its log of revisions. Created by `open_store`."""

    def __init__(self, dialect: Dialect, reader: Engine, writer: Engine, clock: Clock) -> None:
        self._readers = Connections(reader, dialect, READERS, f"all {READERS} connections are busy")
        self._writer = Connections(writer, dialect, 1, "other writers took too long")
        self._clock = clock
        self._news = News()
        self._nudged = asyncio.Event()
        self.on_commit: Callable[[int], None] = lambda _revision: None
        """Called with the revision of each transaction that this process committed."""
        self._appended = 0
        self._growth = asyncio.Event()

    @property
    def writers_waiting(self) -> int:
        """Number of write transactions that wait for their turn."""
        return self._writer.waiting

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlReader]:
        """Provides a snapshot. Raises Unavailable if no connection becomes free."""
        with timed("store", "read"):
            async with self._readers.one() as connection:
                yield await SqlReader.begin(connection)

    @asynccontextmanager
    async def write(self, actor: str, point: str = "") -> AsyncIterator[SqlTransaction]:
        """Provides a transaction, committed when the block ends and rolled back if it raises.

        If the caller is cancelled during the commit, it cannot know whether it was committed. `point` names the
        transaction for fault injection: a process may die before the commit, or between commit and answer.
        """
        with timed("store", "write"):
            async with self._writer.one() as connection:
                transaction = await SqlTransaction.begin(connection)
                transaction.sign(actor, self._clock())
                yield transaction
                if point:
                    fault_point(f"{point}.before_commit")
                await unbroken(self._finish(transaction))
        if point:
            fault_point(f"{point}.after_commit")

    async def changes(self, after: int, limit: int) -> list[Change]:
        """Returns at most `limit` log entries after a revision, in order; fewer if they are large.

        Raises TooOld if some of them were compacted, or if `after` is a revision that never existed.
        """
        async with self._readers.one() as connection:
            view = await SqlReader.begin(connection)
            if after < await self._horizon(connection) or after > view.revision:
                raise TooOld(f"the log no longer has what follows revision {after}; list again, then watch")
            following = select(log).where(log.c.revision > after).order_by(log.c.revision).limit(limit)
            first = select(log.c.end_bytes).where(log.c.revision > after).order_by(log.c.revision).limit(1)
            # "+ 0" keeps the planner from using the index of end_bytes instead of that of revisions.
            few = log.c.end_bytes + 0 <= first.scalar_subquery() + _READ_BYTES
            rows = (await connection.run(following.where(few))).all()
        return [
            Change(row.revision, decode(KINDS[row.kind].type, row.data), row.deleted, row.actor, from_micros(row.time))
            for row in rows
        ]

    async def wait(self, after: int) -> None:
        """Returns once the global revision exceeds `after`; within a second of another process' commit."""
        await self._news.wait(after)

    async def audit(self, events: Iterable[tuple[datetime, AuditEvent]]) -> None:
        """Appends to the audit log."""
        async with self._writer.one() as connection:
            transaction = await SqlTransaction.begin(connection)
            for time, event in events:
                transaction.audit.append(time, event)
            await unbroken(transaction.finish())

    async def audited(self, query: AuditQuery) -> list[AuditRecord]:
        """Reads the audit log."""
        async with self._readers.one() as connection:
            return await read_audit(connection, query)

    async def prune_audit(self, before: datetime) -> int:
        """Deletes the oldest records of the audit log, at most 5,000, and records that; returns their number."""
        async with self._writer.one() as connection:
            transaction = await SqlTransaction.begin(connection)
            gone = await prune_audit(connection, transaction.audit, before, self._clock())
            await unbroken(transaction.finish())
        return gone

    async def note_key_uses(self, uses: Mapping[str, datetime]) -> None:
        """Implements services.ports.KeyUses."""
        async with self._writer.one() as connection:
            transaction = await SqlTransaction.begin(connection)
            await write_key_uses(connection, uses)
            await unbroken(transaction.finish())

    async def key_uses(self, kids: Collection[str]) -> dict[str, datetime]:
        """Implements services.ports.KeyUses."""
        async with self._readers.one() as connection:
            return await read_key_uses(connection, kids)

    async def renew_server(self, own: PeerServer, lease: timedelta) -> list[PeerServer]:
        """Implements services.ports.ServerRows."""
        async with self._writer.one() as connection:
            others = await renew(connection, own, lease)
            await connection.commit()
        return others

    async def forget_server(self, uid: str) -> None:
        """Implements services.ports.ServerRows."""
        async with self._writer.one() as connection:
            await forget(connection, uid)
            await connection.commit()

    async def cluster_id(self) -> str:
        """Returns the cluster's id; the first call ever creates it."""
        async with self._writer.one() as connection:
            transaction = await SqlTransaction.begin(connection)
            known = await self._meta(connection, CLUSTER_ID)
            if known is None:
                known = make_uid(int(self._clock().timestamp() * 1000), secrets.randbits(64))
                await connection.run(insert(meta).values(key=CLUSTER_ID, value=known))
                await transaction.finish()
        return known

    async def compact(self, keep_revisions: int, keep_bytes: int) -> int:
        """Removes all log entries but the last `keep_revisions`, or the last `keep_bytes`; returns their number."""
        async with self._readers.one() as connection:
            now = (await connection.run(select(clock.c.revision, clock.c.log_bytes))).one()
            beyond = (await connection.run(_last_before(now.log_bytes - keep_bytes))).scalar_one_or_none()
        removed, appended = 0, self._appended
        while step := await self._compact_to(max(now.revision - keep_revisions, beyond or 0)):
            removed += step
        self._appended -= appended
        return removed

    async def grown(self, size: int) -> None:
        """Returns once this process has logged `size` bytes since the last compaction."""
        while self._appended < size:
            self._growth.clear()
            await self._growth.wait()

    def nudge(self, revision: int) -> None:
        """Looks for commits of other processes now, unless this process knows of `revision` already."""
        if revision > self._news.revision:
            self._nudged.set()

    async def poll(self) -> None:
        """Looks for commits of other processes, each second and when nudged, until cancelled."""
        while True:
            try:
                self._nudged.clear()  # before the read: what is nudged during it may be later than it
                async with self.read() as view:
                    self._news.publish(view.revision)
            except NetvpsError as error:
                logger.warning("cannot poll the store", reason=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._nudged.wait()

    async def _compact_to(self, goal: int) -> int:
        with timed("store", "compact"):
            return await self._compact_step(goal)

    async def _compact_step(self, goal: int) -> int:
        async with self._writer.one() as connection:
            transaction = await SqlTransaction.begin(connection)
            entries = select(func.min(log.c.revision).label("revision"), func.min(log.c.end_bytes).label("end_bytes"))
            oldest = (await connection.run(entries)).one()
            first = oldest.revision
            if first is None or first > goal:
                return 0
            few = (await connection.run(_last_before(oldest.end_bytes + _COMPACT_BYTES))).scalar_one()
            horizon = min(goal, first + _COMPACT_AT_ONCE - 1, few)
            gone = await connection.change(delete(log).where(log.c.revision <= horizon))
            row = {"value": str(horizon)}
            if not await connection.change(update(meta).where(meta.c.key == _HORIZON).values(row)):
                await connection.run(insert(meta).values(key=_HORIZON, **row))
            await transaction.finish()
            return gone

    async def _finish(self, transaction: SqlTransaction) -> None:
        await transaction.finish()
        self._appended += transaction.appended
        self._growth.set()
        self._news.publish(transaction.revision)
        if transaction.appended:
            self.on_commit(transaction.revision)

    async def _horizon(self, connection: Connection) -> int:
        return int(await self._meta(connection, _HORIZON) or 0)

    async def _meta(self, connection: Connection, key: str) -> str | None:
        return (await connection.run(select(meta.c.value).where(meta.c.key == key))).scalar_one_or_none()


def _last_before(end_bytes: int) -> Select[tuple[int]]:
    """Selects the revision of the last log entry up to a running total of bytes."""
    entries = select(log.c.revision).where(log.c.end_bytes <= end_bytes)
    return entries.order_by(log.c.end_bytes.desc(), log.c.revision.desc()).limit(1)


class News:
    """The latest revision that this process knows to be committed."""

    def __init__(self) -> None:
        self.revision = 0
        self._newer = asyncio.Event()

    def publish(self, revision: int) -> None:
        """Wakes all tasks that wait for an earlier revision; ignores older ones."""
        if revision > self.revision:
            self.revision = revision
            self._newer.set()
            self._newer = asyncio.Event()

    async def wait(self, after: int) -> None:
        """Returns once a revision greater than `after` was published."""
        # No await between the comparison and taking the event, so no publication is missed.
        while self.revision <= after:
            await self._newer.wait()
