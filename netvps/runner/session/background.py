"""Runs long work for a stopped session beside its reconciler, so that a start does not wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from netvps.runner.session.wake import Wake
from netvps.tasks import Tasks

Job = Callable[[Callable[[], bool]], Awaitable[object]]
"""Gets a function, callable in any thread, that reports whether the job was abandoned."""


class Background:
    """Runs at most one job of a session at a time."""

    def __init__(self) -> None:
        self._tasks = Tasks()
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._given_up = threading.Event()

    @property
    def busy(self) -> bool:
        """Whether a job runs, abandoned or not."""
        return self._task is not None and not self._task.done()

    def run(self, job: Job, wake: Wake, *, name: str) -> bool:
        """Starts a job unless one runs; returns True if one ended since the last call. Raises that job's error.

        Notifies `wake` at the job's end. The result of an abandoned job is dropped.
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
        """Abandons the job: its result is not needed any more, and it ends as soon as it can."""
        self._given_up.set()

    def forget(self) -> None:
        """Forgets a job that ended, with its error."""
        if not self.busy:
            self._task = self._failure = None

    async def end(self) -> None:
        """Abandons the job and waits for its end."""
        self.give_up()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stops waiting for the job; a call of the engine continues in its thread."""
        self.give_up()
        await self._tasks.cancel()

    async def _work(self, job: Job, given_up: threading.Event, wake: Wake) -> None:
        try:
            await job(given_up.is_set)
        except Exception as error:  # noqa: BLE001 — re-raised by `run`
            self._failure = error
        finally:
            wake.happened()
