"""Executes the actions of a session's plan: each reports its state and returns the pause before the next inspection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from netvps.domain.runner.docker_names import LABEL_LAYOUT
from netvps.domain.session import steps
from netvps.domain.session.container import ENGINE_AWAY, Container, Observed, SavedImage, SourceImage, Status
from netvps.domain.session.kept import SavedFiles
from netvps.domain.session.lifecycle import ENDED, SNAPSHOT_FAILED, SNAPSHOT_PENDING
from netvps.domain.session.plan import why_made_again
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from netvps.domain.snapshot.steps import Clone, Drop, Revert
from netvps.errors import AlreadyExists, DataLoss, NetvpsError, WrongState
from netvps.runner.ports import Engine, Link
from netvps.runner.session.agent.runtime import RuntimeFolder
from netvps.runner.session.ends.ending import Ending
from netvps.runner.session.ends.restart_backoff import RestartBackoff, boot_time
from netvps.runner.session.ends.starts import Starts
from netvps.runner.session.features import Features
from netvps.runner.session.kept import GaveUp, Kept, failed, new_uid
from netvps.runner.session.last_runs import LastRuns
from netvps.runner.session.live import Live
from netvps.runner.session.logs import KeptLogs
from netvps.runner.session.preparation import Preparation
from netvps.runner.session.reporter import Reporter
from netvps.runner.session.tidying import Tidying
from netvps.runner.session.wake import Wake
from netvps.runner.snapshot_orders import FETCHED_AGAIN, SnapshotOrders

_BOOT_AGAIN = 5.0
_SOON = 1.0
_AT_ONCE = 0.0
_FLATTEN_AGAIN = 5.0
log = structlog.get_logger()


class SessionActions:
    """The actions of one session. Pauses are in seconds; None means the slow timer."""

    def __init__(
        self,
        engine: Engine,
        link: Link,
        folder: RuntimeFolder,
        logs: KeptLogs,
        reporter: Reporter,
        *,
        last_runs: LastRuns,
        starts: Starts,
        features: Features,
        node: str,
        agent: Path,
        lost: Callable[[str, str, str], None],
    ) -> None:
        """`lost` reports a snapshot whose files are damaged here: uids of session and snapshot, and why."""
        self._engine = engine
        self._preparation = Preparation(engine, link, folder, features, node=node, agent=agent)
        self._folder = folder
        self._logs = logs
        self._reporter = reporter
        self._say = reporter.report
        self._exits = RestartBackoff(boot_time())
        self._generation = 0
        self._ending = Ending(engine, reporter)
        self._tidying = Tidying(engine)
        self._stays_deep = ""
        """Snapshot that could not be flattened."""
        self._kept = Kept(engine, last_runs, reporter)
        self._live = Live(engine)
        self._starts = starts
        self._features = features
        self._snapshots = SnapshotOrders(
            engine, last_runs, reporter, self._preparation.prepare, self._preparation.blueprint, lost=lost
        )

    async def close(self) -> None:
        """Closes the session's socket and background work."""
        await self._live.close()
        await self._kept.close()
        await self._snapshots.close()
        await self._folder.close()

    async def resume(self, assignment: Assignment) -> None:
        """Serves the socket of a session that ran under an earlier runner, before Docker says if it runs."""
        if assignment.desired is DesiredState.RUNNING and self._folder.path.exists():
            with suppress(OSError):  # reported by the first pass
                await self._folder.open()

    async def inspect(self, assignment: Assignment) -> Observed:
        """Inspects the session."""
        try:
            observed = await self._engine.inspect(assignment)
        except AlreadyExists as error:
            raise GaveUp(SessionState.FAILED, "container", error.message) from None
        observed = replace(observed, container=self._ending.inspect(observed.container))
        if assignment.generation != self._generation:
            self._generation = assignment.generation
            self._exits.forgive()
        asked = assignment.desired in {DesiredState.STOPPED, DesiredState.DELETED} or assignment.restore is not None
        self._exits.observe(observed.container, asked=asked, now=_now())
        self._reporter.last_exit = self._exits.last
        container = observed.container
        rests = container is not None and (container.status is Status.EXITED or container.held)
        if container and rests and assignment.desired is DesiredState.RUNNING:
            down = await asyncio.to_thread(self._starts.why_down, assignment, container)
            layout = self._preparation.blueprint(assignment, SourceImage("")).labels[LABEL_LAYOUT]
            observed = replace(observed, layout=layout, stays_down=down)
        observed = replace(observed, gpus=self._features.gpu_ids, lxcfs=bool(self._features.extras.lxcfs))
        return await self._kept.inspect(
            assignment, await self._snapshots.inspect(assignment, self._live.inspect(assignment, observed))
        )

    async def execute(self, assignment: Assignment, step: steps.Step, wake: Wake) -> float | None:  # noqa: C901, PLR0911, PLR0912 — one case per action
        """Executes an action. Raises GaveUp; other errors are retried."""
        match step:
            case steps.Fetch(reference):
                return await self._fetch(assignment, reference, wake)
            case steps.Create(source):
                return await self._create(assignment, source)
            case steps.Restore(files, replaced):
                return await self._restore(assignment, files, replaced)
            case steps.Move(container, to):
                log.info("moving the container to another network or address", network=to.net, address=to.address)
                await self._engine.move(container, to)
                return _AT_ONCE
            case steps.Start(container):
                return await self._start(assignment, container)
            case steps.Pause(container):
                return await self._live.pause(assignment, container)
            case steps.Unpause(container):
                return await self._live.unpause(container)
            case steps.Resize(container, to):
                return await self._live.resize(assignment, container, to)
            case steps.Ended(message):
                self._say(assignment, SessionState.STOPPED, reason=ENDED, message=message)
                return None
            case steps.Terminate(container):
                return await self._ending.terminate(assignment, container)
            case steps.Copy(container):
                return await self._kept.copy(assignment, container, wake)
            case steps.Commit(container, flatten):
                return await self._commit(assignment, container, wake, flatten=flatten)
            case steps.Record(snapshot, run):
                message, kept = "recording its snapshot", await self._snapshots.keep(assignment, snapshot.uid, run)
                self._say(
                    assignment,
                    SessionState.STOPPED,
                    reason=SNAPSHOT_PENDING,
                    message=message,
                    snapshot=snapshot,
                    kept=kept,
                )
                return None
            case steps.Take(uid, container, meanwhile, source):
                if meanwhile is None:
                    return await self._snapshots.take_copy(assignment, uid, container.run if container else "")
                pause = await self._rest(assignment, meanwhile, wake)
                if container and not container.files and (why := self._kept.why_not_copied):
                    return self._snapshots.fail(uid, WrongState(why))
                taken = await self._snapshots.take(assignment, uid, container, wake, source)
                return pause if taken is None else taken
            case Drop(uid):
                return await self._snapshots.drop(assignment, uid)
            case Revert(restore, replaced):
                return await self._snapshots.revert(assignment, restore, replaced)
            case Clone(source):
                await self._preparation.prepare(assignment)
                await self._while_boot(assignment, self._snapshots.clone(assignment, source))
                return _AT_ONCE
            case steps.Remove(container, saved):
                await self._logs.save(assignment.session_uid, self._engine.logs)
                log.info("removing the container: its snapshot is recorded", snapshot=saved.snapshot.image)
                await self._engine.remove(container)
                return _AT_ONCE
            case steps.Prune(images):
                await self._engine.prune(images)
                return _AT_ONCE
            case steps.Flatten(saved):
                return await self._flatten(assignment, saved, wake)
            case steps.Rest():
                return await self._rest(assignment, step, wake)
            case steps.Wait():
                return _SOON
            case steps.Refuse():
                if step.lost and assignment.source:
                    self._snapshots.missing(assignment.source)
                why = step.message + self._kept.why_not_restored
                raise GaveUp(SessionState.FAILED, step.reason, why, retryable=step.retryable)
            case steps.Adopt(uid, run):
                log.warning("container and copy are gone: using the snapshot of the last run", snapshot=uid)
                await self._engine.adopt_snapshot(assignment.session_uid, uid, run)
                return _AT_ONCE
            case steps.Erase():
                await self._erase(assignment)
                return None

    async def _fetch(self, assignment: Assignment, reference: str, wake: Wake) -> float:
        self._say(assignment, SessionState.PREPARING, message=f"pulling {reference}")
        failure: NetvpsError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                superseded = group.create_task(_raise_when_assigned(wake), name="new assignment")
                try:
                    await self._engine.pull(reference, self._reporter.progress)
                except NetvpsError as error:
                    failure = error
                superseded.cancel()
        except* _Superseded:
            log.info("pull cancelled by a new assignment", image=reference)
        if failure:
            raise failed(failure, "image")
        return _AT_ONCE

    async def _create(self, assignment: Assignment, source: SourceImage) -> float:
        self._say(assignment, SessionState.STARTING, message=f"creating its container from {source.reference}")
        await self._preparation.prepare(assignment)
        made = self._preparation.blueprint(assignment, source)
        try:
            await self._while_boot(assignment, self._engine.create(made))
        except NetvpsError as error:
            raise failed(error, "container") from None
        return _AT_ONCE

    async def _while_boot(self, assignment: Assignment, work: Coroutine[None, None, object]) -> None:
        """Works with the engine while the control plane makes the agent's certificate. Raises the error of `work`."""
        failure: NetvpsError | None = None
        async with asyncio.TaskGroup() as group:
            boot = group.create_task(self._preparation.boot(assignment), name="agent's certificate")
            try:
                await work
            except NetvpsError as error:
                failure = error
                boot.cancel()
        if failure:
            raise failure

    async def _restore(self, assignment: Assignment, files: SavedFiles, replaced: Container | None) -> float:
        taken = f"{files.create_time:%Y-%m-%d %H:%M:%S} UTC"
        why = (replaced and why_made_again(assignment, replaced, lxcfs=bool(self._features.extras.lxcfs))) or (
            "its container was created by another version of netvps" if replaced else "its container is gone"
        )
        self._say(assignment, SessionState.PREPARING, message=f"{why}: recreating it with its files as of {taken}")
        log.warning("recreating the container from the copy of its files", copied=taken, why=why)

        try:
            source = await self._engine.provide(assignment.session_uid, files, self._reporter.progress)
            await self._preparation.prepare(assignment)
            await self._engine.restore(self._preparation.blueprint(assignment, source), replaced)
        except DataLoss as error:
            if await self._snapshots.damaged(assignment.session_uid, "", error):
                self._say(assignment, SessionState.PREPARING, message=FETCHED_AGAIN)
            else:
                self._kept.not_restored(assignment, files, error)
        except NetvpsError as error:
            failure = failed(error, "container")
            if not isinstance(failure, GaveUp) or failure.retryable:
                raise failure from None
            self._kept.not_restored(assignment, files, error)
        return _AT_ONCE

    async def _start(self, assignment: Assignment, container: Container) -> float:
        if (pause := self._exits.wait(_now())) > 0:
            ended = f"it exited by itself (exit code {container.exit_code})"
            self._say(assignment, SessionState.STARTING, message=f"{ended} and restarts after a pause")
            return pause
        self._kept.give_up()
        self._snapshots.give_up()
        self._say(assignment, SessionState.STARTING, message="starting its container")
        await asyncio.to_thread(self._starts.starting, assignment, container)
        await self._preparation.prepare(assignment)
        await self._preparation.boot(assignment)
        try:
            await self._engine.start(container)
        except NetvpsError as error:
            if (await self._engine.inspect(assignment)).container is None:  # pruned since the inspection
                return _AT_ONCE
            raise failed(error, "container") from None
        self._exits.started(container, _now())
        return _AT_ONCE

    async def _commit(
        self, assignment: Assignment, container: Container, wake: Wake, *, flatten: bool
    ) -> float | None:  # fmt: skip
        try:
            return await self._kept.commit(assignment, container, wake, flatten=flatten)
        except NetvpsError:
            self._tidying.doubt()
            raise

    async def _flatten(self, assignment: Assignment, saved: SavedImage, wake: Wake) -> float | None:
        """Flattens a snapshot. A failure only logs: the snapshot is as good as before."""
        pause = await self._rest(assignment, steps.Rest(SessionState.STOPPED), wake)
        if self._stays_deep == saved.snapshot.uid:
            return pause
        try:
            flat = await self._engine.flatten(new_uid(), assignment, saved, lambda: wake.superseded)
        except NetvpsError as error:
            self._tidying.doubt()
            if error.reason == ENGINE_AWAY:
                raise
            self._stays_deep = saved.snapshot.uid
            log.warning(
                "cannot flatten the snapshot; it keeps its layers", image=saved.snapshot.image, error=error.message
            )
            return pause
        if flat is None:
            self._tidying.doubt()
            return _FLATTEN_AGAIN
        log.info("snapshot flattened", image=flat.image, bytes=flat.size_bytes)
        return _AT_ONCE

    async def _rest(self, assignment: Assignment, rest: steps.Rest, wake: Wake) -> float | None:
        if rest.state is SessionState.STOPPED and (why := self._kept.why_not_copied):
            self._say(assignment, rest.state, reason=SNAPSHOT_FAILED, message=why)
        else:
            self._say(assignment, rest.state, reason=rest.reason, message=rest.message, address=rest.address)
        pause = await self._tidying.tidy(assignment, busy=self._kept.busy)
        if rest.container is None:
            await self._folder.close()
            return pause
        await asyncio.to_thread(self._starts.runs, assignment, rest.container)
        if rest.state is SessionState.PAUSED:
            self._live.take_memory_back(rest.container, wake)
        await self._folder.open()
        return pause if await self._preparation.boot(assignment) else _BOOT_AGAIN

    async def _erase(self, assignment: Assignment) -> None:
        await self._kept.end(assignment.session_uid)
        await self._snapshots.end()
        await self._engine.erase(assignment.session_uid, assignment.snapshot.digest if assignment.snapshot else "")
        await self._folder.remove()
        self._logs.remove(assignment.session_uid)
        self._starts.remove(assignment.session_uid)
        self._say(assignment, SessionState.DELETED)


class _Superseded(Exception):
    """Another assignment has arrived."""


async def _raise_when_assigned(wake: Wake) -> None:
    await wake.wait_assigned()
    raise _Superseded


def _now() -> datetime:
    return datetime.now(UTC)
