"""Notifies tasks that wait for a revision."""

from __future__ import annotations

import asyncio


class News:
    """The latest revision that this process knows to be committed."""

    def __init__(self) -> None:
        self._revision = 0
        self._newer = asyncio.Event()

    def publish(self, revision: int) -> None:
        """Wakes all tasks that wait for an earlier revision; ignores older ones."""
        if revision > self._revision:
            self._revision = revision
            self._newer.set()
            self._newer = asyncio.Event()

    async def wait(self, after: int) -> None:
        """Returns once a revision greater than `after` was published."""
        # No await between the comparison and taking the event, so no publication is missed.
        while self._revision <= after:
            await self._newer.wait()
