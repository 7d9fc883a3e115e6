"""Removes what is this runner's and no assignment ever named, as far as the runner knows: leftovers of a crash.

A session that was assigned here and that the control plane names no more is not among them (Runner).
Only in a connection in which the control plane told all assignments, and only what was nobody's a grace ago, too.
What carries another runner's uid, or another cluster's, is never looked at (Machine.owned).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from netvps.errors import NetvpsError
from netvps.runner.ports import Machine

log = structlog.get_logger()


class Orphans:
    """`sweep` for as long as a connection lasts."""

    def __init__(self, machine: Machine, erase: Callable[[str], Awaitable[None]], grace: float) -> None:
        self._machine = machine
        self._erase = erase
        self._grace = grace

    async def sweep(self, known: Callable[[], frozenset[str]]) -> None:
        """Every `grace` seconds, until cancelled; `known` names the sessions that are somebody's."""
        before = await self._nobodys(known)
        while True:
            await asyncio.sleep(self._grace)
            now = await self._nobodys(known)
            for uid in sorted(before & now):
                await self._remove(uid)
            before = now

    async def _nobodys(self, known: Callable[[], frozenset[str]]) -> frozenset[str]:
        try:
            owned = await self._machine.owned()
        except NetvpsError as error:
            log.info("orphans not looked for", error=error.message)
            return frozenset()
        return owned - known()

    async def _remove(self, uid: str) -> None:
        log.warning("orphan removed: no assignment names it", session=uid)
        try:
            await self._erase(uid)
        except NetvpsError as error:
            log.warning("orphan not removed yet", session=uid, error=error.message)
