"""The last use of API keys, written at a bounded rate: a write for each call would cost too much."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from netvps.services.ports import KeyUses

_INTERVAL: Final = 60.0
"""Seconds between two writes, each of all keys that were used in between."""
_KEYS: Final = 10_000
"""Keys whose uses wait for the next write; beyond it, uses of other keys are not noted."""
log = structlog.get_logger()


class KeyUseLog:
    """Collects uses, and writes them while `run` runs."""

    def __init__(self, store: KeyUses) -> None:
        self._store = store
        self._waiting: dict[str, datetime] = {}

    def note(self, kid: str, time: datetime) -> None:
        """Notes a use of the key."""
        if kid in self._waiting or len(self._waiting) < _KEYS:
            self._waiting[kid] = time

    async def last_uses(self, kids: Collection[str]) -> dict[str, datetime]:
        """The last uses of those that have one."""
        return await self._store.key_uses(kids) | {kid: self._waiting[kid] for kid in kids if kid in self._waiting}

    async def run(self) -> None:
        """Writes once a minute, until cancelled; then what waits, as at the end of a server."""
        try:
            while True:
                await asyncio.sleep(_INTERVAL)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Writes what waits; if that fails, it goes on waiting."""
        uses, self._waiting = self._waiting, {}
        if not uses:
            return
        try:
            await self._store.note_key_uses(uses)
        except NetvpsError as error:
            self._waiting = uses | self._waiting
            log.warning("cannot write the last use of API keys; trying again", error=error.message)
