"""Wakes those who wait for a revision."""

from __future__ import annotations

import asyncio


class News:
    """The latest revision that this process knows to be committed."""

    def __init__(self) -> None:
        self._revision = 0
        self._newer = asyncio.Event()

    def publish(self, revision: int) -> None:
        """Wakes all who wait for less; what is known already is no news."""
        if revision > self._revision:
            self._revision = revision
            self._newer.set()
            self._newer = asyncio.Event()

    async def wait(self, after: int) -> None:
        """Returns once a revision greater than `after` was published."""
        # Nothing is awaited between the comparison and taking the event, so no publication falls between them.
        while self._revision <= after:
            await self._newer.wait()
