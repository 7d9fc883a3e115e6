"""Calls what may hang for good: a driver, a file system in user space."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class HangingCall(Generic[T]):
    """A blocking call in a daemon thread, which does not keep the program from exiting; in one thread at a time."""

    def __init__(self, call: Callable[[], T], *, name: str, seconds: float) -> None:
        self._call = call
        self._name = name
        self._seconds = seconds
        self._running: asyncio.Future[T] | None = None

    async def result(self) -> T:
        """The result. Raises TimeoutError after `seconds`; the next call waits for the same thread, if it still runs.

        Raises what the call raises.
        """
        running = self._running = self._running or self._start()
        async with asyncio.timeout(self._seconds):
            await asyncio.wait([running])
        self._running = None
        return running.result()

    def _start(self) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                found = self._call()
            except Exception as error:  # noqa: BLE001 — re-raised by `result`
                failure = error
                settle = lambda: future.set_exception(failure)  # noqa: E731 — for the loop
            else:
                settle = lambda: future.set_result(found)  # noqa: E731
            with suppress(RuntimeError):  # the loop is closed: the program ends
                loop.call_soon_threadsafe(settle)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return future
