"""Keeps a stopped session's data outside its container: a copy of its files, and a snapshot.

Both are made in the background, after the stop was reported, and retried if that fails.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from netvps.domain.session.container import ENGINE_AWAY, OVERLAY_AWAY, Container, Observed
from netvps.domain.session.kept import LastRun, SavedFiles, keeps
from netvps.domain.session.lifecycle import SNAPSHOT_FAILED, SNAPSHOT_PENDING
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from netvps.domain.uid import make_uid
from netvps.errors import NetvpsError, TimedOut
from netvps.runner.ports import Engine
from netvps.runner.session.background import Background, Job
from netvps.runner.session.last_runs import LastRuns
from netvps.runner.session.reporter import Reporter
from netvps.runner.session.wake import Wake

_COPY_AGAIN: Final = 300.0
_AT_ONCE: Final = 0.0
_DISK_FULL: Final = "DISK_FULL"
# The session's `reason` where the error is more specific than the action.
_REASONS: Final = {
    _DISK_FULL: "disk",
    "NETWORK": "network",
    "IMAGE": "image",
    "IMAGE_ARCHITECTURE": "image",
    "VOLUME": "volume",
}
log = structlog.get_logger()


class GaveUp(NetvpsError):
    """Ends the attempts for this generation: the session stays in `state`, and its data is kept.

    `retryable`: the cause may disappear, so it is retried after a backoff.
    """

    def __init__(self, state: SessionState, reason: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message, reason=reason)
        self.state = state
        self.retryable = retryable


class Kept:
    """The saved data of one session. Pauses are in seconds; None means the slow timer."""

    def __init__(self, engine: Engine, last_runs: LastRuns, reporter: Reporter) -> None:
        self._engine = engine
        self._last_runs = last_runs
        self._reporter = reporter
        self._copying, self._committing = Background(), Background()
        """A copy does not wait for a commit that was abandoned, which the engine goes on with."""
        self._not_copied: tuple[str, float, str] | None = None
        """Run whose files could not be copied, when to retry (loop time), and why."""
        self._not_restored: tuple[SavedFiles, str, int] | None = None
        """Copy that could not be restored, why, and the generation in which that was tried."""

    @property
    def busy(self) -> bool:
        """Whether a copy or snapshot is being made."""
        return self._copying.busy or self._committing.busy

    @property
    def why_not_copied(self) -> str:
        """Explains a failed copy to the session's owner; '' if there is none."""
        if self._not_copied is None or self._not_copied[1] <= _now():
            return ""
        return f"its files are in its container and its snapshot, but were not copied. {self._not_copied[2]}"

    @property
    def why_not_restored(self) -> str:
        """Text to append to a refusal; '' if no copy failed."""
        return f" ({self._not_restored[1]})" if self._not_restored else ""

    async def inspect(self, assignment: Assignment, observed: Observed) -> Observed:
        """Adds the last run to what was inspected where it matters, and hides what failed lately."""
        container, failed_restore = observed.container, self._not_restored
        if container and failed_restore and keeps(failed_restore[0].run, container.run):
            if failed_restore[2] != assignment.generation:  # its owner asks again
                self._not_restored = None
            else:
                observed = replace(observed, cannot_make=failed_restore[1])
        if (
            self._not_restored
            and assignment.desired is DesiredState.RUNNING
            and self._not_restored[0] == observed.files
        ):
            observed = replace(observed, files=None)
        if container is None:
            return replace(observed, last_run=await asyncio.to_thread(self._last_runs.read, assignment.session_uid))
        failed_copy = self._not_copied
        if failed_copy and keeps(failed_copy[0], container.run) and _now() < failed_copy[1]:
            return replace(observed, container=replace(container, files=""))
        self._not_copied = None
        return observed

    async def copy(self, assignment: Assignment, container: Container, wake: Wake) -> float | None:
        """Copies the files. A failure is kept for `why_not_copied`, and the snapshot is taken all the same."""

        async def job(given_up: Callable[[], bool]) -> None:
            if await self._engine.copy(assignment, container, given_up):
                log.info("files copied")

        # One that is held goes on to run, so Docker does not remove it.
        message = "copying its files" if container.held else "copying its files; until then only its container has them"
        try:
            return await self._pending(assignment, message, job, wake, container=container, work=self._copying)
        except NetvpsError as error:
            if error.reason == ENGINE_AWAY:
                raise
            log.warning("files not copied", error=error.message)
            self._not_copied = (container.run, _now() + _COPY_AGAIN, error.message)
            return _AT_ONCE

    async def commit(self, assignment: Assignment, container: Container, wake: Wake, *, flatten: bool) -> float | None:
        """Takes the snapshot. Raises GaveUp, retryable."""

        async def job(given_up: Callable[[], bool]) -> None:
            taken = await self._engine.commit(new_uid(), assignment, container, flatten=flatten, given_up=given_up)
            if taken:
                log.info("snapshot taken", image=taken.image, bytes=taken.size_bytes, layers=taken.layers)

        try:
            message = "taking its snapshot"
            return await self._pending(assignment, message, job, wake, container=container, work=self._committing)
        except NetvpsError as error:
            if error.reason == ENGINE_AWAY or isinstance(error, TimedOut):
                raise  # the session is not the cause: retry with backoff
            raise GaveUp(
                SessionState.STOPPED,
                SNAPSHOT_FAILED,
                f"no snapshot was taken; nothing is lost, the container is kept and can start. {error.message}. "
                "It is retried automatically",
                retryable=True,
            ) from None

    def not_restored(self, assignment: Assignment, files: SavedFiles, error: NetvpsError) -> None:
        """Records a copy that could not be restored, so that a snapshot is used instead."""
        log.error("cannot restore the copy of the files", error=error.message)
        self._not_restored = (files, error.message, assignment.generation)

    def give_up(self) -> None:
        """Abandons the jobs because the container starts: the next stop will leave other files."""
        self._copying.give_up()
        self._committing.give_up()

    async def end(self, session_uid: str) -> None:
        """Waits for the end of the jobs and forgets the last run, before the session is erased."""
        await self._copying.end()
        await self._committing.end()
        await asyncio.to_thread(self._last_runs.remove, session_uid)

    async def close(self) -> None:
        """Stops waiting for the jobs."""
        await self._copying.close()
        await self._committing.close()

    async def _pending(
        self, assignment: Assignment, message: str, job: Job, wake: Wake, *, container: Container, work: Background
    ) -> float | None:
        """Runs a job for a stopped session and reports it as pending; raises the job's error."""
        last = LastRun(container.run, assignment.generation)
        await asyncio.to_thread(self._last_runs.write, assignment.session_uid, last)
        if work.run(job, wake, name=f"{message} {assignment.session_uid}"):
            return _AT_ONCE
        if assignment.desired is DesiredState.RUNNING:
            self._reporter.report(assignment, SessionState.PREPARING, message=f"{message}: its container is made again")
        else:
            self._reporter.report(assignment, SessionState.STOPPED, reason=SNAPSHOT_PENDING, message=message)
        return None


def failed(error: NetvpsError, reason: str) -> NetvpsError:
    """Maps an engine's error: unavailable or slow is retried; everything else ends this generation."""
    if error.reason in {ENGINE_AWAY, OVERLAY_AWAY} or isinstance(error, TimedOut):
        return error
    retryable = error.reason == _DISK_FULL
    message = f"{error.message}; it is retried automatically" if retryable else error.message
    return GaveUp(SessionState.FAILED, _REASONS.get(error.reason, reason), message, retryable=retryable)


def new_uid() -> str:
    """Creates the uid of a snapshot."""
    return make_uid(time.time_ns() // 1_000_000, secrets.randbits(24))


def _now() -> float:
    return asyncio.get_running_loop().time()
