"""Opens the store for a program."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from netvps.adapters.store.connection import unbroken
from netvps.adapters.store.dialects.url import dialect_of
from netvps.adapters.store.migrate import migrate
from netvps.adapters.store.store import SqlStore
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from netvps.adapters.store.dialects.dialect import Engine
    from netvps.services.ports import Clock


@asynccontextmanager
async def open_store(url: str, clock: Clock, read_again: Callable[[], str] | None = None) -> AsyncIterator[SqlStore]:
    """Opens the store at "sqlite:///PATH" (created if missing: file 0600, directory 0700) or "postgresql://…".

    `read_again` returns the present URL: new connections use its password. Migrates the database to the current schema.
    Raises ConfigError if URL, path or database are unusable for this program,
    Unavailable if the database is locked or unreachable, Exhausted if the disk is full, DataLoss if it is damaged.
    """
    dialect = dialect_of(url, read_again)
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(dialect.prepare)
        writer = dialect.writer()
        stack.push_async_callback(_dispose, writer)
        await unbroken(migrate(writer, dialect))
        await asyncio.to_thread(dialect.secure)
        reader = dialect.reader()
        stack.push_async_callback(_dispose, reader)
        store = SqlStore(dialect, reader, writer, clock)
        async with store.read():
            pass  # fail now rather than at the first request
        tasks = await stack.enter_async_context(Tasks())
        tasks.start(store.poll(), name="store poll")
        yield store


async def _dispose(engine: Engine) -> None:
    await unbroken(engine.dispose())
