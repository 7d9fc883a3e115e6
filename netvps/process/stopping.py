"""Two-stage stop: the first SIGTERM or SIGINT asks for a graceful stop, the second for an immediate one."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, Self

import structlog

from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = structlog.get_logger()


class Stop:
    """Turns signals into two events while its `with` block runs."""

    def __init__(self, *signals: signal.Signals) -> None:
        self._signals = signals or (signal.SIGTERM, signal.SIGINT)
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in self._signals:
            loop.add_signal_handler(number, self.request)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._signals:
            loop.remove_signal_handler(number)

    def request(self) -> None:
        """Handles a signal."""
        if self.asked.is_set():
            log.warning("stopping immediately")
            self.at_once.set()
        else:
            log.info("stopping; a second signal stops immediately")
            self.asked.set()

    async def run(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs `work` until it ends or a stop is requested, which cancels it. Raises an ExceptionGroup if it fails."""
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(self.asked.wait())
            task = group.create_task(work)
            await asyncio.wait({asked, task}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            task.cancel()

    async def drain(self, work: Coroutine[Any, Any, object], seconds: float) -> bool:
        """Waits for `work` for at most `seconds`, or until a second signal; returns whether it finished."""
        async with Tasks() as tasks:
            finished = tasks.start(work, name="drain")
            hurry = tasks.start(self.at_once.wait(), name="second signal")
            await asyncio.wait({finished, hurry}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return finished.done() and finished.exception() is None
