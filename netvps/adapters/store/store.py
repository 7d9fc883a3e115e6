"""The store: services.ports.Store, over any dialect."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy import delete, func, insert, select, update

from netvps.adapters.store.codec import decode, from_micros
from netvps.adapters.store.connection import Connections, unbroken
from netvps.adapters.store.dialect import READERS, Dialect
from netvps.adapters.store.news import News
from netvps.adapters.store.tables import KINDS, clock, log, meta
from netvps.adapters.store.views import SqlReader, SqlTransaction
from netvps.domain.uid import make_uid
from netvps.errors import NetvpsError, TooOld
from netvps.services.ports import Change
from netvps.timing import timed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncEngine

    from netvps.adapters.store.connection import Connection
    from netvps.services.ports import Clock

CLUSTER_ID: Final = "cluster_id"
"""Key in the table `meta`."""
_HORIZON: Final = "horizon"
_COMPACT_AT_ONCE, _COMPACT_BYTES = 5000, 64 << 20  # removed per transaction: other writers wait for that long
_READ_BYTES: Final = 32 << 20
"""Of the log that are read at once, unless one entry is more: a session may have megabytes."""
_POLL_SECONDS = 1.0

logger = structlog.get_logger()


class SqlStore:
    """The truth, with its log of revisions. Made by `open_store`."""

    def __init__(self, dialect: Dialect, reader: AsyncEngine, writer: AsyncEngine, clock: Clock) -> None:
        self._readers = Connections(reader, dialect, READERS, f"all {READERS} connections are busy")
        self._writer = Connections(writer, dialect, 1, "other writers take too long")
        self._clock = clock
        self._news = News()
        self._appended = 0
        self._growth = asyncio.Event()

    @property
    def writers_waiting(self) -> int:
        """How many write transactions wait for their turn."""
        return self._writer.waiting

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlReader]:
        """A snapshot to read from. Raises Unavailable if no connection gets free."""
        with timed("store", "read"):
            async with self._readers.one() as connection:
                yield await SqlReader.begin(connection)

    @asynccontextmanager
    async def write(self, actor: str) -> AsyncIterator[SqlTransaction]:
        """One transaction, committed when the block ends; an exception in the block undoes all of it.

        One who is cancelled while the block's end commits cannot tell whether it did.
        """
        with timed("store", "write"):
            async with self._writer.one() as connection:
                transaction = await SqlTransaction.begin(connection)
                transaction.sign(actor, self._clock())
                yield transaction
                await unbroken(self._finish(transaction))

    async def changes(self, after: int, limit: int) -> list[Change]:
        """The log after a revision, in order: at most `limit` entries, and fewer where they are large.

        Raises TooOld if part of that was compacted, or `after` never was.
        """
        async with self._readers.one() as connection:
            view = await SqlReader.begin(connection)
            if after < await self._horizon(connection) or after > view.revision:
                raise TooOld(f"what came after revision {after} is not in the log any more: list again, then watch")
            following = select(log).where(log.c.revision > after).order_by(log.c.revision).limit(limit)
            first = select(log.c.end_bytes).where(log.c.revision > after).order_by(log.c.revision).limit(1)
            # "+ 0": of the two indexes, that of the revisions is to be used.
            few = log.c.end_bytes + 0 <= first.scalar_subquery() + _READ_BYTES
            rows = (await connection.run(following.where(few))).all()
        return [
            Change(row.revision, decode(KINDS[row.kind].type, row.data), row.deleted, row.actor, from_micros(row.time))
            for row in rows
        ]

    async def wait(self, after: int) -> None:
        """Returns once the global revision is greater than `after`; within a second if another process wrote."""
        await self._news.wait(after)

    async def cluster_id(self) -> str:
        """The id of this cluster, made at the first call ever."""
        async with self._writer.one() as connection:
            transaction = await SqlTransaction.begin(connection)
            known = await self._meta(connection, CLUSTER_ID)
            if known is None:
                known = make_uid(int(self._clock().timestamp() * 1000), secrets.randbits(64))
                await connection.run(insert(meta).values(key=CLUSTER_ID, value=known))
                await transaction.finish()
        return known

    async def compact(self, keep_revisions: int, keep_bytes: int) -> int:
        """Forgets all of the log but the last `keep_revisions` entries, or those that hold the last `keep_bytes`.

        Returns how many it removed.
        """
        async with self._readers.one() as connection:
            now = (await connection.run(select(clock.c.revision, clock.c.log_bytes))).one()
            beyond = (await connection.run(_last_before(now.log_bytes - keep_bytes))).scalar_one_or_none()
        removed, appended = 0, self._appended
        while step := await self._compact_to(max(now.revision - keep_revisions, beyond or 0)):
            removed += step
        self._appended -= appended
        return removed

    async def grown(self, size: int) -> None:
        """Returns once this process has logged so many bytes that were not looked at for compaction."""
        while self._appended < size:
            self._growth.clear()
            await self._growth.wait()

    async def poll(self) -> None:
        """Looks for what other processes wrote, until cancelled."""
        while True:
            try:
                async with self.read() as view:
                    self._news.publish(view.revision)
            except NetvpsError as error:
                logger.warning("the store cannot be polled", reason=str(error))
            await asyncio.sleep(_POLL_SECONDS)

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
            gone = await connection.run(delete(log).where(log.c.revision <= horizon))
            row = {"value": str(horizon)}
            if (await connection.run(update(meta).where(meta.c.key == _HORIZON).values(row))).rowcount == 0:
                await connection.run(insert(meta).values(key=_HORIZON, **row))
            await transaction.finish()
            return gone.rowcount

    async def _finish(self, transaction: SqlTransaction) -> None:
        await transaction.finish()
        self._appended += transaction.appended
        self._growth.set()
        self._news.publish(transaction.revision)

    async def _horizon(self, connection: Connection) -> int:
        return int(await self._meta(connection, _HORIZON) or 0)

    async def _meta(self, connection: Connection, key: str) -> str | None:
        return (await connection.run(select(meta.c.value).where(meta.c.key == key))).scalar_one_or_none()


def _last_before(end_bytes: int) -> Select[tuple[int]]:
    """The revision of the last entry of the log with which no more bytes were logged."""
    entries = select(log.c.revision).where(log.c.end_bytes <= end_bytes)
    return entries.order_by(log.c.end_bytes.desc(), log.c.revision.desc()).limit(1)
