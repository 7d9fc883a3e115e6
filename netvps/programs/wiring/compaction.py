"""Keeps the change log small."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from netvps.adapters.store.store import SqlStore

_KEPT_REVISIONS: Final = 100_000
_KEPT_BYTES: Final = 256 << 20
"""Limits of the change log, so that the database does not grow with changes of sessions with megabytes of environment.
"""
_COMPACT_EVERY, _COMPACT_PAUSE = 3600.0, 10.0
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
