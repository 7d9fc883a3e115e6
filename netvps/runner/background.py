"""What takes long for a stopped session, done beside its worker: a start does not wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from netvps.runner.wake import Wake
from netvps.tasks import Tasks

Job = Callable[[Callable[[], bool]], Awaitable[object]]
"""Is given a function to ask, in any thread, whether it was given up."""


class Background:
    """At most one job of a session at a time."""

    def __init__(self) -> None:
        self._tasks = Tasks()
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._given_up = threading.Event()

    @property
    def busy(self) -> bool:
        """Whether a job runs, given up or not."""
        return self._task is not None and not self._task.done()

    def run(self, job: Job, wake: Wake, *, name: str) -> bool:
        """Starts a job unless one runs; True if one has ended since the last call. Raises what that one raised.

        `wake` happens at the end of the job. Of one that was given up nothing is told.
        """
        if self.busy:
            return False
        ended, self._task = self._task is not None and not self._given_up.is_set(), None
        failure, self._failure = self._failure, None
        if ended:
            if failure:
                raise failure
            return True
        self._given_up = threading.Event()
        self._task = self._tasks.start(self._work(job, self._given_up, wake), name=name)
        return False

    def give_up(self) -> None:
        """The result is not wanted any more: the job ends as soon as it can."""
        self._given_up.set()

    async def end(self) -> None:
        """Gives the job up, and returns when it has ended."""
        self.give_up()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stops waiting for the job; a call of the engine goes on in its thread."""
        self.give_up()
        await self._tasks.cancel()

    async def _work(self, job: Job, given_up: threading.Event, wake: Wake) -> None:
        try:
            await job(given_up.is_set)
        except Exception as error:  # noqa: BLE001 — it is raised where the job was asked for
            self._failure = error
        finally:
            wake.happened()
