"""The store: services.ports.Store, over any dialect."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy import delete, func, insert, select, update

from netvps.adapters.store.codec import decode, from_micros
from netvps.adapters.store.dialect import PATIENCE, Dialect, edge
from netvps.adapters.store.news import News
from netvps.adapters.store.tables import KINDS, log, meta
from netvps.adapters.store.views import SqlReader, SqlTransaction
from netvps.domain.uid import make_uid
from netvps.errors import NetvpsError, TooOld, Unavailable
from netvps.services.ports import Change
from netvps.timing import timed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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
        self._dialect = dialect
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._turn = asyncio.Lock()
        self.writers_waiting = 0
        """How many write transactions wait for their turn."""
        self._news = News()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlReader]:
        """A snapshot to read from. Raises Unavailable if no connection gets free."""
        with timed("store", "read"):
            async with self._connection(self._reader) as connection:
                yield await SqlReader.begin(connection, self._dialect)

    @asynccontextmanager
    async def write(self, actor: str) -> AsyncIterator[SqlTransaction]:
        """One transaction, committed when the block ends; an exception in the block undoes all of it.

        One who is cancelled while the block's end commits cannot tell whether it did; whoever waits for news then
        hears of it by the next poll.
        """
        with timed("store", "write"):
            async with self._my_turn(), self._connection(self._writer) as connection:
                transaction = await SqlTransaction.begin(connection, self._dialect)
                transaction.sign(actor, self._clock())
                yield transaction
                await transaction.finish()
                self._news.publish(transaction.revision)

    async def changes(self, after: int, limit: int) -> list[Change]:
        """The log after a revision, in order. Raises TooOld if part of that was compacted, or `after` never was."""
        async with self._connection(self._reader) as connection:
            view = await SqlReader.begin(connection, self._dialect)
            if after < await self._horizon(connection) or after > view.revision:
                raise TooOld(f"what came after revision {after} is not in the log any more: list again, then watch")
            statement = select(log).where(log.c.revision > after).order_by(log.c.revision).limit(limit)
            with edge(self._dialect):
                rows = (await connection.execute(statement)).all()
        return [
            Change(row.revision, decode(KINDS[row.kind].type, row.data), row.deleted, row.actor, from_micros(row.time))
            for row in rows
        ]

    async def wait(self, after: int) -> None:
        """Returns once the global revision is greater than `after`; within a second if another process wrote."""
        await self._news.wait(after)

    async def cluster_id(self) -> str:
        """The id of this cluster, made at the first call ever."""
        async with self._my_turn(), self._connection(self._writer) as connection:
            transaction = await SqlTransaction.begin(connection, self._dialect)
            known = await self._meta(connection, CLUSTER_ID)
            if known is None:
                known = make_uid(int(self._clock().timestamp() * 1000), secrets.randbits(64))
                with edge(self._dialect):
                    await connection.execute(insert(meta).values(key=CLUSTER_ID, value=known))
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
        async with self._my_turn(), self._connection(self._writer) as connection:
            transaction = await SqlTransaction.begin(connection, self._dialect)
            with edge(self._dialect):
                first = (await connection.execute(select(func.min(log.c.revision)))).scalar_one()
                if first is None or first > goal:
                    return 0
                horizon = min(goal, first + _COMPACT_AT_ONCE - 1)
                gone = await connection.execute(delete(log).where(log.c.revision <= horizon))
                row = {"value": str(horizon)}
                if (await connection.execute(update(meta).where(meta.c.key == _HORIZON).values(row))).rowcount == 0:
                    await connection.execute(insert(meta).values(key=_HORIZON, **row))
            await transaction.finish()
            return gone.rowcount

    async def _horizon(self, connection: AsyncConnection) -> int:
        return int(await self._meta(connection, _HORIZON) or 0)

    async def _meta(self, connection: AsyncConnection, key: str) -> str | None:
        with edge(self._dialect):
            return (await connection.execute(select(meta.c.value).where(meta.c.key == key))).scalar_one_or_none()

    @asynccontextmanager
    async def _connection(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection; at the end, what was not committed is undone."""
        async with AsyncExitStack() as stack:
            with edge(self._dialect):
                connection = await stack.enter_async_context(engine.connect())
            yield connection

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        """Lets one at a time through: waiting here is fair, and costs no thread, unlike the database's own lock."""
        self.writers_waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable(f"{self._dialect.place}: other writers take too long; try again") from None
        finally:
            self.writers_waiting -= 1
        try:
            yield
        finally:
            self._turn.release()
