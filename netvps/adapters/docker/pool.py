"""Blocking calls off the event loop: bounded, with a timeout each, in threads that never hold up the program's end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from netvps.adapters.docker.errors import EngineSlow

T = TypeVar("T")


class Pool:
    """At most `size` calls at once.

    Threads are daemons, which those of concurrent.futures are not: a commit of ten minutes must not keep a runner
    that shall end. A call that timed out or was cancelled still holds its place until its thread is done, for that is
    what is bounded.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._places = asyncio.Semaphore(size)

    @property
    def full(self) -> bool:
        """Whether another call would have to wait."""
        return self._places.locked()

    async def run(self, call: Callable[[], T], seconds: float) -> T:
        """The result of `call`. Raises EngineSlow `seconds` after it began.

        How long it waits for a place says nothing about this call, and is not counted: each call before it ends in
        bounded time, for the library's own timeouts end its thread.
        """
        await self._places.acquire()
        try:
            async with asyncio.timeout(seconds):
                return await self._in_thread(call)
        except TimeoutError:
            raise EngineSlow(
                f"Docker did not answer in {seconds:.0f} s; see whether the machine is overloaded"
            ) from None

    def _in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def done(result: T | None, error: BaseException | None) -> None:
            self._places.release()
            if future.done():
                return
            if error:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result, failure = None, None
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 — it is raised where it is awaited
                failure = error
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(done, result, failure)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return future
