"""Carries out the orders for a session's snapshots: takes them in the background, restores them in place, clones.

What fails is remembered until its order is withdrawn; a runner that starts again tries once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from netvps.domain.runner.docker_names import LABEL_RESTORE
from netvps.domain.session.blueprint import Blueprint
from netvps.domain.session.container import ENGINE_AWAY, Container, Observed, SourceImage, Status
from netvps.domain.session.kept import LastRun
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from netvps.domain.snapshot.snapshot import (
    Restore,
    RestoreResult,
    RestoreState,
    SnapshotResult,
    SnapshotSource,
    SnapshotState,
)
from netvps.domain.snapshot.steps import due_restore, ready_result, restore_result, snapshot_results
from netvps.errors import DataLoss, NetvpsError, TimedOut
from netvps.runner.ports import Engine
from netvps.runner.session.background import Background
from netvps.runner.session.kept import GaveUp, failed
from netvps.runner.session.last_runs import LastRuns
from netvps.runner.session.reporter import Reporter
from netvps.runner.session.wake import Wake

_AT_ONCE: Final = 0.0
_AWAIT_SECONDS: Final = 120.0
"""How long a session waits, before it fails, for files that another machine may have."""
FETCHED_AGAIN: Final = "its files are damaged on this machine: they are fetched from another one that holds them"
_DISK_FULL: Final = "DISK_FULL"
log = structlog.get_logger()


class SnapshotOrders:
    """The orders of one session. Pauses are in seconds; None means the slow timer."""

    def __init__(
        self,
        engine: Engine,
        last_runs: LastRuns,
        reporter: Reporter,
        prepare: Callable[[Assignment], Awaitable[None]],
        blueprint: Callable[[Assignment, SourceImage], Blueprint],
        *,
        lost: Callable[[str, str, str], None],
    ) -> None:
        """`prepare` makes what a container mounts, `blueprint` the definition of one.

        `lost` reports a snapshot whose files are damaged here: uids of session and snapshot, and why.
        """
        self._engine = engine
        self._prepare = prepare
        self._blueprint = blueprint
        self._lost = lost
        self._await_until = 0.0
        """Until when files that were found damaged are waited for (loop time)."""
        self._last_runs = last_runs
        self._reporter = reporter
        self._background = Background()
        self._taking: tuple[str, Container | None] | None = None
        """Uid of the snapshot that is being taken, and its container as it was."""
        self._failures: dict[str, SnapshotResult] = {}
        self._not_restored: RestoreResult | None = None

    async def inspect(self, assignment: Assignment, observed: Observed) -> Observed:
        """Adds what failed and what is going on; sets what is reported. A pause for a snapshot counts as running."""
        ordered = {order.uid for order in assignment.snapshot_orders if not order.delete}
        self._failures = {uid: failure for uid, failure in self._failures.items() if uid in ordered}
        taking = self._taking[0] if self._taking and self._background.busy else ""
        if taking and not self._is_undisturbed(assignment, observed, ordered):
            self._background.give_up()
        elif taking and observed.container and observed.container.status is Status.PAUSED:
            observed = replace(observed, container=replace(observed.container, status=Status.RUNNING))
        awaited = asyncio.get_running_loop().time() < self._await_until
        observed = replace(observed, failures=dict(self._failures), not_restored=self._not_restored, taking=taking)
        observed = replace(observed, awaited=awaited)
        await self._note_restored(assignment, observed.container)
        self._reporter.snapshots = snapshot_results(assignment, observed)
        self._reporter.restore = restore_result(assignment, observed)
        return observed

    async def take(
        self,
        assignment: Assignment,
        uid: str,
        container: Container | None,
        wake: Wake,
        source: SnapshotSource | None = None,
    ) -> float | None:
        """Takes a snapshot in the background. A failure is reported; only an engine that is away or slow raises.

        `source` is what a session without files is to be made from. The run of a container that is held is the last
        one from now on: if a restore in place fails and Docker loses the container, this snapshot takes its place.
        """

        async def job(given_up: Callable[[], bool]) -> None:
            if await self._engine.take_snapshot(assignment, uid, container, given_up, source):
                log.info("snapshot taken", snapshot=uid)

        if container and container.held:
            last = LastRun(container.run, assignment.generation)
            await asyncio.to_thread(self._last_runs.write, assignment.session_uid, last)
        idle = not self._background.busy
        if idle and (self._taking is None or self._taking[0] != uid):
            self._background.forget()
        try:
            if self._background.run(job, wake, name=f"snapshot {uid}"):
                self._taking = None
                return _AT_ONCE
        except NetvpsError as error:
            self._taking = None
            if error.reason == ENGINE_AWAY or isinstance(error, TimedOut):
                raise
            return self.fail(uid, error)
        if idle:
            self._taking = (uid, container)
        return None

    def fail(self, uid: str, error: NetvpsError) -> float:
        """Records that a snapshot cannot be taken; it is reported next."""
        log.warning("snapshot not taken", snapshot=uid, error=error.message)
        reason = "disk" if error.reason == _DISK_FULL else "snapshot"
        self._failures[uid] = SnapshotResult(uid, SnapshotState.FAILED, reason, error.message)
        return _AT_ONCE

    async def drop(self, assignment: Assignment, uid: str) -> float:
        """Removes a snapshot."""
        await self._engine.drop_snapshot(assignment, uid)
        log.info("snapshot removed", snapshot=uid)
        return _AT_ONCE

    async def keep(self, assignment: Assignment, uid: str, run: str) -> SnapshotResult | None:
        """Makes the copy of a stopped session a snapshot; None if there is no copy of that run."""
        try:
            saved = await self._engine.keep_snapshot(assignment, uid, run)
        except NetvpsError as error:
            log.warning("the copy does not become a snapshot", error=error.message)
            return None
        return ready_result(saved) if saved else None

    async def take_copy(self, assignment: Assignment, uid: str, run: str) -> float:
        """Makes the copy of a stopped session the snapshot that is ordered. A failure is reported."""
        try:
            if await self._engine.keep_snapshot(assignment, uid, run):
                log.info("snapshot taken: it is the copy of the last run", snapshot=uid)
        except NetvpsError as error:
            return self.fail(uid, error)
        return _AT_ONCE

    async def revert(self, assignment: Assignment, restore: Restore, replaced: Container | None) -> float:
        """Makes the container again from a snapshot. A failure is reported, and leaves everything as it was.

        Once the present container is being replaced, there is no way back, and a failure is retried.
        """
        message = "restoring its snapshot; its present state is a snapshot, too"
        self._reporter.report(assignment, SessionState.PREPARING, message=message)
        log.warning("restoring a snapshot in place", snapshot=restore.snapshot, previous=restore.previous)
        try:
            await self._prepare(assignment)
            source = SnapshotSource(restore.snapshot, assignment.session_uid)
            plan = await self._make(assignment, source, restore.uid)
        except NetvpsError as error:
            failure = failed(error, "snapshot")
            if failure is error:
                raise  # temporary
            if replaced is None and isinstance(failure, GaveUp) and failure.retryable:
                raise failure from None
            log.warning("snapshot not restored", snapshot=restore.snapshot, error=error.message)
            self._not_restored = RestoreResult(restore.uid, RestoreState.FAILED, error.message)
            return _AT_ONCE
        await self._engine.take_place(plan, source, replaced)
        return _AT_ONCE

    async def clone(self, assignment: Assignment, source: SnapshotSource) -> None:
        """Makes the container from a snapshot of another session; what it mounts is prepared. Raises GaveUp."""
        self._reporter.report(
            assignment, SessionState.PREPARING, message="making it from a snapshot of another session"
        )
        try:
            await self._engine.take_place(await self._make(assignment, source, ""), source, None)
        except DataLoss:
            self._reporter.report(assignment, SessionState.PREPARING, message=FETCHED_AGAIN)
        except NetvpsError as error:
            raise failed(error, "snapshot") from None

    async def _make(self, assignment: Assignment, source: SnapshotSource, restore_uid: str) -> Blueprint:
        """Makes a container from a snapshot, which replaces nothing yet. Raises a NetvpsError."""
        below = await self._engine.provide_below(source.session, source.uid, self._reporter.progress)
        plan = self._blueprint(assignment, below)
        plan = replace(plan, labels=plan.labels | {LABEL_RESTORE: restore_uid}) if restore_uid else plan
        try:
            await self._engine.make_from(plan, source)
        except DataLoss as error:
            await self.damaged(source.session, source.uid, error)
            raise
        return plan

    def missing(self, source: SnapshotSource) -> None:
        """Reports a snapshot that should be here, and is not, so that another machine's files are used."""
        self._lost(source.session, source.uid, "its files are not on this machine any more")

    async def damaged(self, session_uid: str, uid: str, error: DataLoss) -> bool:
        """Gives up files whose checksum does not match, and reports it, so that another machine's are used.

        `uid` is a snapshot's; '' means the session's copy. Returns whether another machine may have them.
        """
        log.error("files are damaged on this machine", snapshot=uid, error=error.message)
        lost = await self._engine.disown(session_uid, uid)
        for one in sorted(lost):
            self._lost(session_uid, one, error.message)
            self._await_until = asyncio.get_running_loop().time() + _AWAIT_SECONDS
        return bool(lost)

    def give_up(self) -> None:
        """Abandons a snapshot that is being taken, because the container starts."""
        self._background.give_up()

    async def end(self) -> None:
        """Waits for the end of the job, before the session is erased."""
        await self._background.end()

    async def close(self) -> None:
        """Stops waiting for the job."""
        await self._background.close()

    def _is_undisturbed(self, assignment: Assignment, observed: Observed, ordered: set[str]) -> bool:
        """Whether a snapshot that is being taken is still wanted, of a container that nothing is to be done with."""
        if self._taking is None or self._taking[0] not in ordered or assignment.desired is DesiredState.DELETED:
            return False
        begun = self._taking[1]
        if begun is None or begun.held or begun.status not in {Status.RUNNING, Status.PAUSED}:
            return True
        as_it_was = assignment.desired == ("PAUSED" if begun.status is Status.PAUSED else "RUNNING")
        return as_it_was and due_restore(assignment, observed) is None

    async def _note_restored(self, assignment: Assignment, container: Container | None) -> None:
        """Records the new container's run before the restore is reported: older data is not used from now on."""
        if (
            assignment.restore
            and container
            and container.restored == assignment.restore.uid
            and container.started is None
        ):
            last = LastRun(container.run, assignment.generation)
            await asyncio.to_thread(self._last_runs.write, assignment.session_uid, last)
