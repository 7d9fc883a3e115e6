"""Removes orphans of this runner: objects in Docker that no known assignment names, left by a crash.

Sessions that were assigned here and that the control plane no longer names are not among them (Runner). Sweeps only
during a connection in which the control plane has sent all assignments, and removes only what was orphaned one grace
period earlier, too. Objects with the uid of another runner or cluster are never considered (Machine.owned).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from netvps.errors import NetvpsError
from netvps.runner.ports import Machine

log = structlog.get_logger()


class Orphans:
    """Run `sweep` for the duration of a connection."""

    def __init__(self, machine: Machine, erase: Callable[[str], Awaitable[None]], grace: float) -> None:
        self._machine = machine
        self._erase = erase
        self._grace = grace

    async def sweep(self, known: Callable[[], frozenset[str]]) -> None:
        """Sweeps every `grace` seconds until cancelled; `known` returns the sessions that have an owner."""
        before = await self._orphaned(known)
        while True:
            await asyncio.sleep(self._grace)
            now = await self._orphaned(known)
            for uid in sorted(before & now):
                await self._remove(uid)
            before = now

    async def _orphaned(self, known: Callable[[], frozenset[str]]) -> frozenset[str]:
        try:
            owned = await self._machine.owned()
        except NetvpsError as error:
            log.info("cannot list orphans", error=error.message)
            return frozenset()
        return owned - known()

    async def _remove(self, uid: str) -> None:
        log.warning("removing an orphan: no assignment names it", session=uid)
        try:
            await self._erase(uid)
        except NetvpsError as error:
            log.warning("cannot remove an orphan yet; retrying", session=uid, error=error.message)


def warn_of_unknown(sessions: Collection[str]) -> None:
    """Logs sessions that the control plane does not name and never ordered to delete; they are kept.

    Most likely its database was restored from an earlier backup. User data is never removed for that.
    """
    for uid in sorted(sessions):
        log.warning(
            "the server does not know this session and never ordered its deletion: its container and files are kept",
            session=uid,
            remedy="restore a later backup of the server; or save what you need, stop the runner, remove its"
            " assignments.json, and start it: what the server does not know either is removed a minute later",
        )
