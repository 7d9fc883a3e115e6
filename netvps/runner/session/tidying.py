"""Removes what interrupted snapshots of a session left with the engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from netvps.domain.session.session import Assignment
    from netvps.runner.ports import Engine

TIDY_AGAIN = 15.0
log = structlog.get_logger()


class Tidying:
    """Remains of one session. Pauses are in seconds; None means the slow timer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due: float | None = 0.0
        """When to remove remains next (loop time); None: there are none."""
        self._again = True

    def doubt(self) -> None:
        """Looks for remains soon, because a snapshot failed."""
        self._due, self._again = 0.0, True

    async def tidy(self, assignment: Assignment, *, busy: bool) -> float | None:
        """Removes remains, twice: the engine may still finish a killed runner's call. `busy`: a snapshot is made."""
        now = asyncio.get_running_loop().time()
        if busy:
            return TIDY_AGAIN
        if self._due is None or now < self._due:
            return self._due and self._due - now
        again, self._again = self._again, False
        try:
            await self._engine.tidy(assignment)
        except NetvpsError as error:  # not worth reporting
            log.info("cannot remove remains of interrupted snapshots; retrying", error=error.message)
            again = True
        self._due = now + TIDY_AGAIN if again else None
        return self._due and TIDY_AGAIN
