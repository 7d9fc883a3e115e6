"""The events that a reconciler waits for."""

from __future__ import annotations

import asyncio


class Wake:
    """Signals an event; `assigned` means a new assignment, which may make a long pull pointless."""

    def __init__(self) -> None:
        self._any = asyncio.Event()
        self._assigned = asyncio.Event()

    def happened(self) -> None:
        """Signals an event of the engine or a timer."""
        self._any.set()

    def assigned(self) -> None:
        """Signals a new assignment."""
        self._assigned.set()
        self._any.set()

    @property
    def superseded(self) -> bool:
        """Whether there is a new assignment; callable in any thread."""
        return self._assigned.is_set()

    def clear(self) -> None:
        """Resets both; call it before inspecting, so that events during the inspection are not lost."""
        self._any.clear()
        self._assigned.clear()

    async def wait(self, seconds: float) -> None:
        """Waits for an event, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._any.wait()
        except TimeoutError:
            pass

    async def wait_assigned(self) -> None:
        """Waits for a new assignment."""
        await self._assigned.wait()
