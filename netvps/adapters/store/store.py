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
from netvps.adapters.store.tables import KINDS, log, meta
from netvps.adapters.store.views import SqlReader, SqlTransaction
from netvps.domain.uid import make_uid
from netvps.errors import NetvpsError, TooOld
from netvps.services.ports import Change
from netvps.timing import timed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from netvps.adapters.store.connection import Connection
    from netvps.services.ports import Clock

CLUSTER_ID: Final = "cluster_id"
"""Key in the table `meta`."""
_HORIZON: Final = "horizon"
_COMPACT_AT_ONCE = 5000  # log entries removed per transaction: other writers wait for that long
_POLL_SECONDS = 1.0

logger = structlog.get_logger()


class SqlStore:
    """The truth, with its log of revisions. Made by `open_store`."""

    def __init__(self, dialect: Dialect, reader: AsyncEngine, writer: AsyncEngine, clock: Clock) -> None:
        self._readers = Connections(reader, dialect, READERS, f"all {READERS} connections are busy")
        self._writer = Connections(writer, dialect, 1, "other writers take too long")
        self._clock = clock
        self._news = News()

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
        """The log after a revision, in order. Raises TooOld if part of that was compacted, or `after` never was."""
        async with self._readers.one() as connection:
            view = await SqlReader.begin(connection)
            if after < await self._horizon(connection) or after > view.revision:
                raise TooOld(f"what came after revision {after} is not in the log any more: list again, then watch")
            statement = select(log).where(log.c.revision > after).order_by(log.c.revision).limit(limit)
            rows = (await connection.run(statement)).all()
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

    async def compact(self, keep_revisions: int) -> int:
        """Forgets all but the last `keep_revisions` entries of the log; returns how many it removed."""
        async with self.read() as view:
            goal = view.revision - keep_revisions
        removed = 0
        while step := await self._compact_to(goal):
            removed += step
        return removed

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
            first = (await connection.run(select(func.min(log.c.revision)))).scalar_one()
            if first is None or first > goal:
                return 0
            horizon = min(goal, first + _COMPACT_AT_ONCE - 1)
            gone = await connection.run(delete(log).where(log.c.revision <= horizon))
            row = {"value": str(horizon)}
            if (await connection.run(update(meta).where(meta.c.key == _HORIZON).values(row))).rowcount == 0:
                await connection.run(insert(meta).values(key=_HORIZON, **row))
            await transaction.finish()
            return gone.rowcount

    async def _finish(self, transaction: SqlTransaction) -> None:
        await transaction.finish()
        self._news.publish(transaction.revision)

    async def _horizon(self, connection: Connection) -> int:
        return int(await self._meta(connection, _HORIZON) or 0)

    async def _meta(self, connection: Connection, key: str) -> str | None:
        return (await connection.run(select(meta.c.value).where(meta.c.key == key))).scalar_one_or_none()
