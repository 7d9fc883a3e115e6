"""Background tasks with an owner, which logs their failures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = structlog.get_logger()


class Tasks:
    """Owns tasks for the duration of its `async with` block; at its end all of them are cancelled and awaited.

    Unlike in a TaskGroup, a failed task does not end the others: it is logged with its name. Use it for independent
    tasks, such as connections; use a TaskGroup for tasks that depend on each other.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Runs `coroutine` as a task. Raises RuntimeError after the block has ended."""
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"task {name} was started after its owner was closed")
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def cancel(self) -> None:
        """Cancels all running tasks except the current one, and awaits them."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        await self.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed", task=task.get_name(), exc_info=error)
