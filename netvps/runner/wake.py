"""What a worker waits on."""

from __future__ import annotations

import asyncio


class Wake:
    """Something happened; `assigned` tells that it was a new assignment, which may make a long pull pointless."""

    def __init__(self) -> None:
        self._any = asyncio.Event()
        self._assigned = asyncio.Event()

    def happened(self) -> None:
        """The engine, or a timer, has news."""
        self._any.set()

    def assigned(self) -> None:
        """There is a new assignment."""
        self._assigned.set()
        self._any.set()

    @property
    def superseded(self) -> bool:
        """Whether there is a new assignment; any thread may ask."""
        return self._assigned.is_set()

    def clear(self) -> None:
        """To be called before looking, so that what happens while looking is not missed."""
        self._any.clear()
        self._assigned.clear()

    async def wait(self, seconds: float) -> None:
        """Until something happens, but not longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._any.wait()
        except TimeoutError:
            pass

    async def wait_assigned(self) -> None:
        """Until there is a new assignment."""
        await self._assigned.wait()
