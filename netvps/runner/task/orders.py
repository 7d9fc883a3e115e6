"""Runs the tasks that the control plane orders, each as an asyncio task of its own."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.domain.task.task import TaskAction
from netvps.errors import InternalError, NetvpsError, Unavailable
from netvps.runner.task.run import TaskHost, TaskRun
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.task.task import TaskOrder

_BACKOFF_MIN: Final = 0.5
_BACKOFF_MAX: Final = 30.0
"""Seconds until something that failed is tried again."""
log = structlog.get_logger()


class TaskOrders:
    """The orders of this runner. An async context manager; leaving it leaves the containers alone."""

    def __init__(self, host: TaskHost, forget: Callable[[str], None]) -> None:
        """`forget` drops the report about a task whose end is recorded."""
        self._host = host
        self._forget = forget
        self._runs: dict[str, TaskRun] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._named: set[str] = set()
        """Tasks of which there were orders since `keep_named`."""
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.__aexit__()

    def order(self, order: TaskOrder) -> None:
        """Takes an order; one that differs from an earlier one for the same task replaces it."""
        self._named.add(order.id)
        run = self._runs.get(order.id)
        if run is not None and order.epoch < run.order.epoch:
            log.warning("older order of a task refused", task=order.id, epoch=order.epoch, known=run.order.epoch)
            return
        if order.action is TaskAction.KEEP:
            self._forget(order.id)
        if run is None or run.order.epoch != order.epoch:
            run = self._runs[order.id] = TaskRun(self._host, order)
        elif run.order == order and order.id in self._jobs:
            return
        run.order = order
        run.changed.set()
        if run.preparing or order.id not in self._jobs:
            self._begin(order.id, run)

    def wake(self, task_id: str) -> None:
        """Looks at a task again, because its container changed; at all for ''."""
        for run in [self._runs.get(task_id)] if task_id else [*self._runs.values()]:
            if run:
                run.changed.set()

    def keep_named(self) -> None:
        """Forgets the tasks of which no order came: most likely, the control plane was restored from a backup.

        A command that runs goes on, and its container is kept.
        """
        unknown, self._named = self._runs.keys() - self._named, set()
        for task_id in unknown:
            log.warning("the server does not know this task: its container is kept", task=task_id)
            del self._runs[task_id]
            if job := self._jobs.pop(task_id, None):
                job.cancel()
            self._forget(task_id)

    def _begin(self, task_id: str, run: TaskRun) -> None:
        earlier = self._jobs.pop(task_id, None)
        if earlier:
            earlier.cancel()
        self._jobs[task_id] = self._tasks.start(self._carry_out(run, earlier), name=f"task {task_id}")

    async def _carry_out(self, run: TaskRun, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        failures = 0
        task_id = run.order.id
        while True:
            try:
                if await run.step():
                    break
                failures = 0
                continue
            except NetvpsError as error:
                failure = error
            except (OSError, ValueError) as error:
                failure = Unavailable(f"the runner cannot use its own files ({error}); check its disk")
            except Exception:  # a bug in one task must not end the runner
                log.exception("bug in a task")
                failure = InternalError("a bug of netvps; the runner's log has the details")
            failures += 1
            pause = min(_BACKOFF_MAX, _BACKOFF_MIN * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 — jitter
            log.info("task does not go on yet", task=task_id, error=failure.message, seconds=round(pause, 1))
            run.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await run.changed.wait()
        if self._jobs.get(task_id) is asyncio.current_task():
            del self._jobs[task_id]
            if run.order.action is TaskAction.REMOVE:
                self._runs.pop(task_id, None)
