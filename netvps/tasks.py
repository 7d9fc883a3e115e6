"""Background tasks with an owner, which logs their failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Self, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

T = TypeVar("T")
log = structlog.get_logger()


async def until(deadline: float, items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Yields the items, and closes them if they are a generator.

    Raises TimeoutError once it waits for one at `deadline`, a time of the loop. Unlike with asyncio.timeout around a
    loop in a generator, what the reader does in between is never cancelled.
    """
    try:
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    item = await anext(items)
            except StopAsyncIteration:
                return
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def beside(work: Coroutine[Any, Any, object], seconds: float) -> AsyncGenerator[None, None]:
    """Runs `work`, and yields every `seconds` until it ends; raises its error. Closing it cancels the work."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=seconds)
            if not task.done():
                yield
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
