"""Carries out the order for one task: inspect, do the next thing, report.

A record on disk is written before a start, and again at the end. From it and the container follows what to do after a
crash at any point: a container that was never started is started, one that was is watched, and where the record says
that it was started and the container is gone, the task is lost.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.session.container import Status
from netvps.domain.task.container import GRACE_SECONDS, TaskContainer, end_of, task_blueprint
from netvps.domain.task.task import ENDED, TaskAction, TaskCause, TaskReport, TaskState
from netvps.errors import NetvpsError, TimedOut, Unavailable
from netvps.faults import fault_point

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.session.blueprint import Extras
    from netvps.domain.task.task import TaskOrder
    from netvps.runner.task.ports import TaskEngine
    from netvps.runner.task.records import TaskRecords

PREPARE_SECONDS: Final = 3600.0
"""How long an image may take to arrive, with all tries."""
_LOOK_SECONDS: Final = 30.0
MEMORY_BYTES: Final = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
"""Of the machine."""
_ALIVE: Final = frozenset({Status.RUNNING, Status.PAUSED})
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TaskHost:
    """What the tasks of a machine share."""

    engine: TaskEngine
    records: TaskRecords
    post: Callable[[TaskReport], None]
    node: str
    """Uid of the runner."""
    extras: Callable[[], Extras]
    booted: datetime | None = None
    """When the machine last started; None if unknown."""


@dataclass(slots=True)
class TaskRun:
    """One task. `step` until it returns true; `order` may be replaced between steps."""

    host: TaskHost
    order: TaskOrder
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to look again at once: the container or the order changed."""
    began: float = field(default_factory=time.monotonic)
    signalled: float | None = None
    """When SIGTERM was sent."""
    preparing: bool = False
    """It gets the image, which takes long and may be interrupted."""

    async def step(self) -> bool:
        """Does the next thing; returns whether nothing is left to do. Raises a NetvpsError if it is to be repeated."""
        order = self.order
        if order.action is TaskAction.KEEP:
            return True
        if order.action is TaskAction.REMOVE:
            return await self._remove()
        record = await asyncio.to_thread(self.host.records.read, order.id)
        if record is None or record.epoch != order.epoch:
            return await self._advance(started=False)
        if record.state not in ENDED:
            return await self._advance(started=True)
        self.host.post(record)
        return True

    async def _advance(self, *, started: bool) -> bool:
        """Brings the command to its start, or to its end; `started` if there is a record of a start."""
        order, engine = self.order, self.host.engine
        found = await engine.find(order.id, order.owner)
        if found and found.epoch != order.epoch:
            await engine.remove(found.container.id)
            return False
        if found is None and started:
            return await self._end(self._report(TaskState.LOST, TaskCause.RUNNER_LOST, "its container was removed"))
        if found is None or found.container.status is Status.CREATED:
            return await self._begin(found)
        if found.container.status in _ALIVE:
            await self._watch(found)
            return False
        return await self._end(
            end_of(order, found.container, signalled=self.signalled is not None, booted=self.host.booted)
        )

    async def _begin(self, found: TaskContainer | None) -> bool:
        """Brings the command to its start."""
        order, engine = self.order, self.host.engine
        if order.action is TaskAction.CANCEL:
            if found:
                await engine.remove(found.container.id)
            return await self._end(self._report(TaskState.CANCELLED, message="cancelled before it was started"))
        if found is None:
            return await self._create()
        if found.error:
            return await self._not_started(found, found.error)
        await asyncio.to_thread(self.host.records.write, self._report(TaskState.RUNNING))
        fault_point("task.recorded")
        try:
            await engine.start(found.container)
        except (Unavailable, TimedOut):
            raise
        except NetvpsError as error:
            seen = await engine.find(order.id, order.owner)
            if seen and seen.container.status is Status.CREATED:
                return await self._not_started(seen, error.message)
            raise
        fault_point("task.started")
        return False

    async def _create(self) -> bool:
        order, host = self.order, self.host
        assert order.job is not None  # noqa: S101 — of orders that run
        self.preparing = True
        try:
            await host.engine.provide(order.job.container.image)
        except (Unavailable, TimedOut) as error:
            if time.monotonic() - self.began < PREPARE_SECONDS:
                host.post(self._report(TaskState.PREPARING, message=error.message))
                raise
            return await self._end(self._report(TaskState.FAILED, TaskCause.IMAGE, error.message))
        except NetvpsError as error:
            return await self._end(self._report(TaskState.FAILED, TaskCause.IMAGE, error.message))
        finally:
            self.preparing = False
        plan = task_blueprint(order, node=host.node, machine_memory=MEMORY_BYTES, extra=host.extras())
        try:
            await host.engine.create(plan)
        except (Unavailable, TimedOut):
            raise
        except NetvpsError as error:
            return await self._end(self._report(TaskState.FAILED, TaskCause.START, error.message))
        return False

    async def _watch(self, found: TaskContainer) -> None:
        """Reports that it runs, ends it if it is to end, and waits until something may have changed."""
        container, order, now = found.container, self.order, time.monotonic()
        self.host.post(TaskReport(order.id, order.epoch, TaskState.RUNNING, start_time=container.started))
        wait = _LOOK_SECONDS
        timeout = order.job.timeout if order.job else 0.0
        left = _left(container.started, timeout)
        if order.action is TaskAction.CANCEL or left <= 0:
            if self.signalled is None:
                self.signalled = now
                await self.host.engine.signal(container, "TERM")
            elif now - self.signalled >= GRACE_SECONDS:
                await self.host.engine.signal(container, "KILL")
            wait = GRACE_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(min(wait, left if left > 0 else wait)):
                await self.changed.wait()
        self.changed.clear()

    async def _not_started(self, found: TaskContainer, why: str) -> bool:
        failed = self._report(TaskState.FAILED, TaskCause.START, why)
        return await self._end(replace(failed, exit_code=found.container.exit_code or None))

    async def _remove(self) -> bool:
        if found := await self.host.engine.find(self.order.id, self.order.owner):
            await self.host.engine.remove(found.container.id)
        await asyncio.to_thread(self.host.records.remove, self.order.id)
        self.host.post(TaskReport(self.order.id, self.order.epoch, TaskState.LOST, gone=True))
        return True

    async def _end(self, report: TaskReport) -> bool:
        await asyncio.to_thread(self.host.records.write, report)
        fault_point("task.ended")
        log.info("task ended", task=report.id, state=report.state, cause=report.cause, exit_code=report.exit_code)
        self.host.post(report)
        return True

    def _report(self, state: TaskState, cause: TaskCause = TaskCause.NONE, message: str = "") -> TaskReport:
        ended = datetime.now(UTC) if state in ENDED else None
        return TaskReport(self.order.id, self.order.epoch, state, cause, message=message, end_time=ended)


def _left(started: datetime | None, timeout: float) -> float:
    """Seconds until the timeout of a command; infinite if it has none."""
    if not timeout or started is None:
        return math.inf
    return timeout - (datetime.now(UTC) - started).total_seconds()
