"""Ends the processes of a session, so that its files are never only in what `docker container prune` takes.

The agent holds the container: its processes end, and PID 1 stays, alone, until the files are copied. What ignores
SIGTERM is killed after the grace period. Agents of earlier versions cannot hold, and all end at once where no copy can
be made.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Final

from netvps.domain.session.container import Container, Status
from netvps.domain.session.session import Assignment, SessionState
from netvps.runner.ports import Engine
from netvps.runner.session.reporter import Reporter

HOLD: Final = "RTMAX"
"""As in tunnel/pid1/hold.go; Docker's name of the signal."""
_KILL_AGAIN: Final = 2.0
_FIRST_LOOK: Final = 0.02
_LAST_LOOK: Final = 0.5


class Ending:
    """The end of one session's container. Pauses are in seconds."""

    def __init__(self, engine: Engine, reporter: Reporter) -> None:
        self._engine = engine
        self._reporter = reporter
        self._run = ""
        """Run of the container whose end began."""
        self._holds = False
        self._forced = False
        """The processes of a container that holds were killed."""
        self._held: tuple[str, datetime | None] | None = None
        """Container and start of the run that was asked to hold, or that was found held."""
        self._until = 0.0
        """The end of the grace period (loop time)."""
        self._look = _FIRST_LOOK

    def inspect(self, container: Container | None) -> Container | None:
        """Returns what was inspected, and not as one that works again while the engine has not noticed its end."""
        live = container is not None and container.status is Status.RUNNING
        if container is None or not live or container.held or self._held != (container.id, container.started):
            return container
        return replace(container, ending=True)

    async def terminate(self, assignment: Assignment, container: Container) -> float:
        """Asks the processes to end, or, after the grace period, kills them."""
        now = asyncio.get_running_loop().time()
        if self._run != container.run:
            await self._begin(assignment, container, now)
        left = self._until - now
        if left <= 0:
            self._forced, last = True, self._forced or not self._holds
            await self._engine.signal(container, "KILL" if last else HOLD)
            self._until, left = now + _KILL_AGAIN, _KILL_AGAIN
        if self._holds or container.held:
            self._held = (container.id, container.started)
        if not self._holds:
            return left  # the engine tells when it has ended
        self._look = min(2 * self._look, _LAST_LOOK)
        return min(left, self._look)

    async def _begin(self, assignment: Assignment, container: Container, now: float) -> None:
        grace = assignment.spec.stop_grace
        if container.held:  # PID 1 alone is left, and the stop was reported
            await self._engine.signal(container, "TERM")
            self._holds, self._until = False, now + _KILL_AGAIN
        elif container.ending:  # begun by a runner that is gone; the signal sent again would kill
            self._holds, self._until = True, now + grace
        else:
            self._reporter.report(assignment, SessionState.STOPPING, message=f"its processes have {grace:g} s to end")
            self._holds, self._until = container.holdable and bool(container.files), now + grace
            await self._engine.signal(container, HOLD if self._holds else "TERM")
        self._run, self._forced, self._look = container.run, False, _FIRST_LOOK
