"""Runs blocking calls in daemon threads: bounded, with a timeout each, and without delaying the program's exit."""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import TypeVar

from netvps.adapters.docker.errors import EngineSlow
from netvps.urgency import is_urgent

T = TypeVar("T")


class Pool:
    """Runs at most `size` calls at once; of those that wait, first what a person waits for, then in order.

    Threads are daemons, unlike those of concurrent.futures: a commit of ten minutes must not keep a runner from
    exiting. A call that timed out or was cancelled keeps its slot until its thread ends, because the thread still loads
    the engine.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._free = size
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        """A heap. Not urgent, number, and what ends the wait; some have given up."""
        self._numbers = count()

    @property
    def full(self) -> bool:
        """Reports whether another call would have to wait."""
        return not self._free

    async def run(self, call: Callable[[], T], seconds: float) -> T:
        """Returns the result of `call`. Raises EngineSlow if it takes more than `seconds`.

        Waiting for a slot does not count: it says nothing about this call, and ends in bounded time because the
        library's own timeouts end every earlier call.
        """
        await self._acquire()
        try:
            async with asyncio.timeout(seconds):
                return await self._in_thread(call)
        except TimeoutError:
            raise EngineSlow(f"Docker did not answer in {seconds:.0f} s; check the machine's load (uptime)") from None

    async def _acquire(self) -> None:
        if self._free:  # then no one waits
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not is_urgent(), next(self._numbers), place))
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it got the slot at the same moment
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            place = heapq.heappop(self._waiting)[-1]
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def _in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def done(result: T | None, error: BaseException | None) -> None:
            self._release()
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
            except BaseException as error:  # noqa: BLE001 — re-raised where the result is awaited
                failure = error
            with suppress(RuntimeError):  # the loop is closed: the program ends
                loop.call_soon_threadsafe(done, result, failure)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return future
