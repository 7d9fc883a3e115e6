"""Changes a container without a restart: pauses it and takes back its memory, and gives it other limits.

What the engine refuses is not tried again until the owner asks for something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from netvps.domain.session.container import ENGINE_AWAY, Container, Observed, Status
from netvps.domain.session.limits import Limits
from netvps.domain.session.session import Assignment
from netvps.errors import NetvpsError, TimedOut
from netvps.runner.ports import Engine
from netvps.runner.session.background import Background
from netvps.runner.session.wake import Wake

_AT_ONCE: Final = 0.0
log = structlog.get_logger()


class Live:
    """Changes to one session's container. Pauses are in seconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cannot_pause: tuple[int, str] | None = None
        """Generation in which the container could not be paused, and why."""
        self._refused: tuple[int, Limits, str] | None = None
        """Generation and limits that could not be applied, and why."""
        self._reclaim = Background()
        self._reclaimed = ""
        """Run of the container whose memory was taken back in its present pause."""

    def inspect(self, assignment: Assignment, observed: Observed) -> Observed:
        """Adds what was refused in this generation."""
        if observed.container is None or observed.container.status is not Status.PAUSED:
            self._reclaimed = ""
        if self._cannot_pause and self._cannot_pause[0] == assignment.generation:
            observed = replace(observed, cannot_pause=self._cannot_pause[1])
        if self._refused and self._refused[0] == assignment.generation:
            observed = replace(observed, refused=self._refused[1:])
        return observed

    async def pause(self, assignment: Assignment, container: Container) -> float:
        """Freezes the container. A refusal is kept for `look`; only an engine that is away or slow raises."""
        try:
            await self._engine.pause(container)
        except NetvpsError as error:
            _raise_if_temporary(error)
            log.warning("cannot pause the container", error=error.message)
            self._cannot_pause = (assignment.generation, f"it runs on, because it cannot be paused: {error.message}")
        return _AT_ONCE

    async def unpause(self, container: Container) -> float:
        """Lets the container go on."""
        self._reclaim.give_up()
        log.info("letting a paused container go on")
        await self._engine.unpause(container)
        return _AT_ONCE

    async def resize(self, assignment: Assignment, container: Container, to: Limits) -> float:
        """Changes limits. A refusal is kept for `look`; only an engine that is away or slow raises."""
        try:
            await self._engine.resize(container, to)
        except NetvpsError as error:
            _raise_if_temporary(error)
            log.warning("limits not changed", error=error.message)
            self._refused = (assignment.generation, to, f"it keeps its limits: {error.message}")
        else:
            log.info("limits changed", cpus=to.cpus, memory_bytes=to.memory_bytes, pids=to.pids)
        return _AT_ONCE

    def take_memory_back(self, container: Container, wake: Wake) -> None:
        """Takes back memory of a paused container, in the background, once in each pause."""
        if self._reclaimed == container.run:
            return

        async def job(given_up: Callable[[], bool]) -> None:
            taken = await self._engine.reclaim(container, given_up)
            log.info("memory of a paused container taken back", bytes=taken)

        try:
            if not self._reclaim.busy:
                self._reclaim.run(job, wake, name=f"memory of {container.id[:12]}")
                self._reclaimed = container.run
        except NetvpsError as error:  # of the pause before
            log.info("memory of a paused container not taken back", error=error.message)

    async def close(self) -> None:
        """Stops waiting for background work."""
        await self._reclaim.close()


def _raise_if_temporary(error: NetvpsError) -> None:
    if error.reason == ENGINE_AWAY or isinstance(error, TimedOut):
        raise error
