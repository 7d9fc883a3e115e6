"""Keeps the change log small, and does what becomes due: takes snapshots, and deletes old ones and imports."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog

from netvps.errors import NetvpsError
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from netvps.adapters.store.store import SqlStore
    from netvps.services.snapshots.files import SnapshotFiles
    from netvps.services.snapshots.schedule import SnapshotSchedule
    from netvps.services.snapshots.snapshots import Snapshots

_KEPT_REVISIONS: Final = 100_000
_KEPT_BYTES: Final = 256 << 20
"""Limits of the change log, so that the database does not grow with changes of sessions with megabytes of environment.
"""
_COMPACT_EVERY, _COMPACT_PAUSE = 3600.0, 10.0
_EXPIRE_EVERY: Final = 300.0
_SCHEDULE_EVERY: Final = 60.0
log = structlog.get_logger()


async def compact(store: SqlStore) -> None:
    """Compacts the change log periodically, until cancelled."""
    while True:
        try:
            if removed := await store.compact(_KEPT_REVISIONS, _KEPT_BYTES):
                log.info("change log compacted", removed=removed)
        except NetvpsError as error:
            log.warning("cannot compact the change log", error=error.message)
        await asyncio.sleep(_COMPACT_PAUSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(_COMPACT_EVERY):
                await store.grown(_KEPT_BYTES // 4)


@asynccontextmanager
async def expiring(snapshots: Snapshots, files: SnapshotFiles, schedule: SnapshotSchedule) -> AsyncIterator[None]:
    """Deletes snapshots that are too old and the remains of imports, and takes snapshots that are due, in the block."""

    async def repeat(what: str, work: Callable[[], Awaitable[object]], seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except NetvpsError as error:
                log.warning("work in the background failed; retrying", work=what, error=error.message)

    async with Tasks() as tasks:
        for what, work, seconds in (
            ("delete snapshots that are too old", snapshots.expire, _EXPIRE_EVERY),
            ("delete the remains of imports", files.abandon_stale, _EXPIRE_EVERY),
            ("take snapshots that are due", schedule.take_due, _SCHEDULE_EVERY),
        ):
            tasks.start(repeat(what, work, seconds), name=what)
        yield
