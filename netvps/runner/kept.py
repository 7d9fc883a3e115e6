"""What is kept of a stopped session beside its container: a copy of its files, and a snapshot.

Both are made in the background, after the stop was told, and again after a while if that fails.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from netvps.domain import container as plan
from netvps.domain.kept import LastRun, SavedFiles
from netvps.domain.lifecycle import SNAPSHOT_FAILED, SNAPSHOT_PENDING
from netvps.domain.session import Assignment, DesiredState, SessionState
from netvps.domain.uid import make_uid
from netvps.errors import NetvpsError, TimedOut
from netvps.runner.background import Background, Job
from netvps.runner.last_runs import LastRuns
from netvps.runner.ports import Engine
from netvps.runner.reporter import Reporter
from netvps.runner.wake import Wake

_COPY_AGAIN: Final = 300.0
_AT_ONCE: Final = 0.0
log = structlog.get_logger()


class GaveUp(NetvpsError):
    """Nothing more to try for this generation: the session is left in `state`, and all it holds is kept.

    `hope`: it may come right by itself, and is tried again after a while.
    """

    def __init__(self, state: SessionState, reason: str, message: str, *, hope: bool = False) -> None:
        super().__init__(message, reason=reason)
        self.state = state
        self.hope = hope


class Kept:
    """Of one session. Pauses are in seconds; None stands for the slow timer."""

    def __init__(self, engine: Engine, last_runs: LastRuns, reporter: Reporter) -> None:
        self._engine = engine
        self._last_runs = last_runs
        self._reporter = reporter
        self._background = Background()
        self._not_copied: tuple[str, float, str] | None = None
        """Run whose files could not be copied, when that is tried again (loop time), and why."""
        self._not_restored: tuple[SavedFiles, str] | None = None
        """A copy that could not be restored, and why."""

    @property
    def busy(self) -> bool:
        """Whether something is being made."""
        return self._background.busy

    @property
    def why_not_copied(self) -> str:
        """For the session's owner; '' if the copy is as it shall be."""
        if self._not_copied is None or self._not_copied[1] <= _now():
            return ""
        return f"its files are in its container and its snapshot, and were not copied. {self._not_copied[2]}"

    @property
    def why_not_restored(self) -> str:
        """What to add to a refusal; '' if no copy failed."""
        return f" ({self._not_restored[1]})" if self._not_restored else ""

    async def look(self, want: Assignment, seen: plan.Seen) -> plan.Seen:
        """What is seen, with the last run where it matters, and without what failed lately."""
        container = seen.container
        if self._not_restored and want.desired is DesiredState.RUNNING and self._not_restored[0] == seen.files:
            seen = replace(seen, files=None)
        if container is None:
            return replace(seen, last_run=await asyncio.to_thread(self._last_runs.read, want.session_uid))
        failed_copy = self._not_copied
        if failed_copy and failed_copy[0] == container.run and _now() < failed_copy[1]:
            return replace(seen, container=replace(container, files=""))
        self._not_copied = None
        return seen

    async def copy(self, want: Assignment, container: plan.Container, wake: Wake) -> float | None:
        """Copies the files. A failure is kept for `why_not_copied`: the snapshot is taken all the same."""

        async def job(given_up: Callable[[], bool]) -> None:
            if await self._engine.copy(want, container, given_up):
                log.info("files copied")

        try:
            return await self._pending(want, container, "copying its files", job, wake)
        except NetvpsError as error:
            if error.reason == plan.ENGINE_AWAY:
                raise
            log.warning("files not copied", error=error.message)
            self._not_copied = (container.run, _now() + _COPY_AGAIN, error.message)
            return _AT_ONCE

    async def commit(self, want: Assignment, container: plan.Container, wake: Wake, *, flatten: bool) -> float | None:
        """Takes the snapshot. Raises GaveUp, with hope."""

        async def job(given_up: Callable[[], bool]) -> None:
            taken = await self._engine.commit(new_uid(), want, container, flatten=flatten, given_up=given_up)
            if taken:
                log.info("snapshot taken", image=taken.image, bytes=taken.size_bytes, layers=taken.layers)

        try:
            return await self._pending(want, container, "taking its snapshot", job, wake)
        except NetvpsError as error:
            if error.reason == plan.ENGINE_AWAY or isinstance(error, TimedOut):
                raise  # it says nothing about the session: again, ever less often
            raise GaveUp(
                SessionState.STOPPED,
                SNAPSHOT_FAILED,
                f"no snapshot was taken, and nothing is lost: the container is kept, and starts. {error.message}. "
                "It is tried again by itself",
                hope=True,
            ) from None

    def not_restored(self, files: SavedFiles, error: NetvpsError) -> None:
        """Takes note of a copy that could not be restored: without it, there may be a snapshot."""
        log.error("the copy of the files cannot be restored", error=error.message)
        self._not_restored = (files, error.message)

    def give_up(self) -> None:
        """The container is being started: what is made now is not what the next stop will leave."""
        self._background.give_up()

    async def end(self, session_uid: str) -> None:
        """The session is to be erased: waits for what is being made, and forgets the last run."""
        await self._background.end()
        await asyncio.to_thread(self._last_runs.remove, session_uid)

    async def close(self) -> None:
        """Stops waiting for what is being made."""
        await self._background.close()

    async def _pending(
        self, want: Assignment, container: plan.Container, message: str, job: Job, wake: Wake
    ) -> float | None:  # fmt: skip
        """Has a job done for a session that is stopped, and says that it is; raises what the job raised."""
        last = LastRun(container.run, want.generation)
        await asyncio.to_thread(self._last_runs.write, want.session_uid, last)
        if self._background.run(job, wake, name=f"{message} {want.session_uid}"):
            return _AT_ONCE
        self._reporter.say(want, SessionState.STOPPED, reason=SNAPSHOT_PENDING, message=message)
        return None


def new_uid() -> str:
    """Of a snapshot."""
    return make_uid(time.time_ns() // 1_000_000, secrets.randbits(24))


def _now() -> float:
    return asyncio.get_running_loop().time()
